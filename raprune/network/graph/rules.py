"""How channels pass through the operations of a network: one rule per operation.

A rule takes the channels of the first prunable input and returns those of the output. An operation without a rule is
not guessed: the layers that it reads stay whole.
"""

from __future__ import annotations

from typing import Any

from torch import fx, nn

from raprune.network.graph.align import Align
from raprune.network.graph.convolutions import convolution, linear, transposed
from raprune.network.graph.modes import DROPS, ByMode, WideDropout
from raprune.network.graph.picking import shuffle, split
from raprune.network.graph.probing import is_stock, obeys
from raprune.network.graph.reshaping import cat, item, pad, pixel_shuffle, pixel_unshuffle, pool_away, reshape
from raprune.network.graph.sums import gate, move, total
from raprune.network.graph.units import Ids
from raprune.network.graph.walk import NORMS, UNKNOWN, Rule, Value, Walk, argument, function_name, shape


def norm(walk: Walk, node: fx.Node, ids: Ids | None) -> Value:
    """A norm has statistics and factors per channel."""
    called = walk.called(node)
    names = [n for n in ("weight", "bias", "running_mean", "running_var") if getattr(called, n) is not None]
    for name in names:
        walk.axis(f"{node.target}.{name}", 0, ids)
    cuts = {(name, 0): 1 for name in names}
    if ids is not None and called is not None and not is_stock(called):
        _check(walk, node, cuts)
    if ids is not None and not names:
        walk.bare_norms.append((str(node.target), ids))
    return ids


def prelu(walk: Walk, node: fx.Node, ids: Ids | None) -> Value:
    """One slope per channel, or one for all."""
    called = walk.called(node)
    assert isinstance(called, nn.PReLU)
    if called.num_parameters > 1:
        walk.axis(f"{node.target}.weight", 0, ids)
    if ids is not None and not is_stock(called):
        _check(walk, node, {("weight", 0): 1} if called.num_parameters > 1 else {})
    return ids


def _check(walk: Walk, node: fx.Node, cuts: dict[tuple[str, int], int]) -> None:
    """Refuse a custom layer that mixes channels."""
    called = walk.called(node)
    assert called is not None
    if not obeys(called, shape(node.all_input_nodes[0]), cuts, 1, 1):
        raise walk.refuse(node, UNKNOWN)


def channelwise(walk: Walk, node: fx.Node, ids: Ids) -> Value:
    """Output channel i depends only on input channel i; f(0) may differ from 0, as absent channels are not computed."""
    return ids


def softmax(walk: Walk, node: fx.Node, ids: Ids) -> Value:
    """Channelwise over positions; refused over channels, where each depends on all."""
    called = walk.called(node)
    dim = called.dim if isinstance(called, nn.Softmax | nn.LogSoftmax) else argument(node, 1, "dim")
    if not isinstance(dim, int) or dim % len(shape(node)) < 2:
        raise walk.refuse(node, "it runs over channels or images, not only over positions")
    return ids


def permute(walk: Walk, node: fx.Node, ids: Ids) -> Value:
    """Positions may be permuted; channels must stay in dimension 1."""
    order = list(range(len(shape(node))))
    dims: list[Any] = list(node.args[1]) if isinstance(node.args[1], list | tuple) else list(node.args[1:])
    if function_name(node.target) == "permute":
        given: Any = node.kwargs.get("dims", ())
        order = dims or list(given)
    elif len(dims) == 2:
        order[dims[0]], order[dims[1]] = order[dims[1]], order[dims[0]]
    if order[:2] != [0, 1]:
        raise walk.refuse(node, "it moves channels out of dimension 1")
    return ids


def max_pool(walk: Walk, node: fx.Node, ids: Ids) -> Value:
    """Channelwise; on request it also returns the indices of the maxima."""
    called = walk.called(node)
    indices = called.return_indices if isinstance(called, nn.MaxPool2d) else node.kwargs.get("return_indices")
    return (ids, ids) if indices or node.target is nn.functional.max_pool2d_with_indices else ids


def unpool(walk: Walk, node: fx.Node, ids: Ids) -> Value:
    """Values are placed at another layer's maxima, so both have the same channels."""
    one, other = node.all_input_nodes[:2]
    walk.units.tie(walk.ids(one), walk.ids(other), f"{node.name} places its values at the maxima of channels that stay")
    return ids


MODULES: tuple[tuple[tuple[type[nn.Module], ...], Rule], ...] = (
    ((nn.Conv2d,), convolution),
    ((nn.ConvTranspose2d,), transposed),
    ((nn.Linear,), linear),
    (NORMS, norm),
    ((nn.PReLU,), prelu),
    ((nn.MaxPool2d,), max_pool),
    ((nn.MaxUnpool2d,), unpool),
    ((nn.PixelShuffle,), pixel_shuffle),
    ((nn.PixelUnshuffle,), pixel_unshuffle),
    ((nn.Flatten,), reshape),
    ((Align,), move),
    ((WideDropout,), channelwise),
    ((nn.ChannelShuffle,), shuffle),
    ((nn.Softmax, nn.LogSoftmax), softmax),
    (
        (
            nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Softplus,
            nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Sigmoid, nn.Tanh, nn.Identity, nn.Dropout, nn.Dropout2d,
            nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.LPPool2d, nn.Upsample, nn.ZeroPad2d,
            nn.ConstantPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d, nn.CircularPad2d, nn.LogSigmoid, nn.Softsign,
            nn.Hardshrink, nn.Softshrink, nn.Tanhshrink, nn.Threshold, nn.UpsamplingNearest2d,
            nn.UpsamplingBilinear2d,
        ),
        channelwise,
    ),
)  # fmt: skip
"""The first match gives the rule. Subclasses match, since libraries extend layers by padding and activations."""

CHANNELWISE = (
    "relu", "relu_", "relu6", "leaky_relu", "elu", "celu", "selu", "gelu", "silu", "mish", "softplus", "hardswish",
    "hardsigmoid", "hardtanh", "sigmoid", "sigmoid_", "tanh", "tanh_", "clamp", "clamp_", "neg", "abs", "square",
    "sqrt", "exp", "dropout", "dropout2d", "feature_dropout", "stochastic_depth", "drop_path", "avg_pool2d",
    "adaptive_avg_pool2d", "adaptive_max_pool2d", "interpolate", "upsample", "contiguous", "clone", "detach", "float",
    "half", "double", "to", "pow", "rsqrt", "reciprocal", "log", "log1p", "erf", "sin", "cos", "sign", "floor", "ceil",
    "round", "logsigmoid", "softsign", "hardshrink", "softshrink", "tanhshrink", "threshold", "type_as",
    "_adaptive_avg_pool2d", "nan_to_num",
)  # fmt: skip
FUNCTIONS: dict[str, Rule] = {
    **dict.fromkeys(CHANNELWISE, channelwise),
    **dict.fromkeys(("add", "add_", "iadd", "sub", "sub_", "isub"), total),
    **dict.fromkeys(("mul", "mul_", "imul", "multiply", "div", "truediv", "div_"), gate),
    **dict.fromkeys(("maximum", "minimum", "expand_as"), gate),
    **dict.fromkeys(("flatten", "view", "reshape", "squeeze", "unsqueeze"), reshape),
    **dict.fromkeys(("mean", "sum", "amax", "amin", "std", "var"), pool_away),
    **dict.fromkeys(("softmax", "log_softmax"), softmax),
    **dict.fromkeys(("permute", "transpose", "swapaxes"), permute),
    **dict.fromkeys(("cat", "concat", "concatenate"), cat),
    **dict.fromkeys(("max_pool2d", "max_pool2d_with_indices"), max_pool),
    "max_unpool2d": unpool,
    **dict.fromkeys(("channel_shuffle", "native_channel_shuffle"), shuffle),
    "pixel_shuffle": pixel_shuffle,
    "pixel_unshuffle": pixel_unshuffle,
    "pad": pad,
    "getitem": item,
    **dict.fromkeys(("chunk", "split", "split_with_sizes", "tensor_split", "unsafe_chunk", "unsafe_split"), split),
}
"""Name of a function or method -> rule."""


def rule_of(walk: Walk, node: fx.Node) -> Rule | None:
    """The rule of a node; ``None`` if there is none."""
    called = walk.called(node)
    if type(called).__name__ in DROPS:
        return channelwise
    if called is not None and not isinstance(called, ByMode):
        return next((rule for kinds, rule in MODULES if isinstance(called, kinds)), None)
    return FUNCTIONS.get(function_name(called.function if called is not None else node.target))
