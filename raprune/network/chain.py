"""A network as a chain of known operations, for those who run it without torch.

Only networks whose every module reads the one before it are chains: convolution, norm (folded into the layer before
it), ReLU, max and mean pooling, flattening, linear. :func:`steps_of` writes a chain's weights as whole numbers on a
coarse grid, one scale for each filter; :func:`network_of` gives the torch network of those steps, rounding included.

Shapes: N filters or outputs, M weights of each.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F
from torch.nn.utils import fuse_conv_bn_eval, fuse_linear_bn_eval

from raprune.network.graph import Align
from raprune.network.graph.modes import WideDropout
from raprune.network.graph.plain import is_altered, is_ours

Step = Mapping[str, Any]
Chain = Sequence[tuple[str, nn.Module]]
"""Names and modules, in eval mode, on the CPU, in float32."""

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
"""The letter of the whole number n, from -31 to 31, has the place n + 32."""
_LETTERS = np.frombuffer(LETTERS.encode(), np.uint8)
_SORTED = _LETTERS.argsort()
DIGITS = 3
"""Significant digits of scales and biases."""
IDLE = (nn.Dropout, nn.Dropout2d, nn.Identity, WideDropout)
"""Modules that return what they read, in eval mode."""
RELUS: tuple[Any, ...] = (F.relu, torch.relu, torch.relu_, "relu", "relu_")
FLATTENINGS: tuple[Any, ...] = (torch.flatten, "flatten")


def chain_of(network: fx.GraphModule) -> Chain | None:
    """The operations of ``network`` in the order in which they run; ``None`` where it is no chain of known ones."""
    chain: list[tuple[str, nn.Module]] = []
    before: fx.Node | None = None
    for node in network.graph.nodes:
        if node.op == "placeholder":
            if before is not None:
                return None
        elif node.all_input_nodes != [before]:
            return None
        elif node.op == "output":
            return chain if node.args == (before,) and _fits(chain) else None
        elif not _append(chain, network, node):
            return None
        before = node
    return None


def _append(chain: list[tuple[str, nn.Module]], network: fx.GraphModule, node: fx.Node) -> bool:
    """Add what ``node`` does to the chain; whether that is known."""
    if node.op != "call_module":
        module = _called(node)
    else:
        found = network.get_submodule(str(node.target))
        if is_altered(found) or len(node.args) != 1 or node.kwargs:
            return False
        if type(found) in IDLE or (type(found) is Align and not found.index.numel()):
            return True
        module = copy.deepcopy(found).eval().cpu().float()
    if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
        return bool(chain) and _fold(chain, module)
    if module is None or is_ours(module):
        return False
    chain.append((str(node.target) if node.op == "call_module" else node.name, module))
    return True


def _called(node: fx.Node) -> nn.Module | None:
    """The module that does what a called function or method does."""
    positional, named = node.args[1:], {name: value for name, value in node.kwargs.items() if name != "inplace"}
    if node.target in RELUS and not positional and not named:
        return nn.ReLU()
    if node.target in FLATTENINGS and (positional, named) in (((1,), {}), ((), {"start_dim": 1})):
        return nn.Flatten()
    return None


def _fold(chain: list[tuple[str, nn.Module]], norm: nn.BatchNorm1d | nn.BatchNorm2d) -> bool:
    name, layer = chain[-1]
    if norm.running_mean is None or norm.running_var is None:
        return False
    if type(layer) is nn.Conv2d and type(norm) is nn.BatchNorm2d:
        chain[-1] = name, fuse_conv_bn_eval(layer, norm)
    elif type(layer) is nn.Linear and type(norm) is nn.BatchNorm1d:
        chain[-1] = name, fuse_linear_bn_eval(layer, norm)
    else:
        return False
    return True


def _fits(chain: Chain) -> bool:
    """Whether each operation has the settings that a step can describe, and images are flattened once, before linear
    layers."""
    flat = False
    for _, module in chain:
        kind = type(module)
        if isinstance(module, nn.Flatten):
            if flat or module.start_dim != 1 or module.end_dim != -1:
                return False
            flat = True
        elif kind is not nn.ReLU and flat != (kind is nn.Linear):
            return False
    return flat and all(type(module) in _DESCRIBED and _DESCRIBED[type(module)](module) for _, module in chain)


def _conv(conv: Any) -> dict[str, Any] | None:
    plain = conv.groups == 1 and conv.padding_mode == "zeros" and not isinstance(conv.padding, str)
    if not plain or _pair(conv.dilation) != [1, 1]:
        return None
    return {"op": "conv", "stride": _pair(conv.stride), "padding": _pair(conv.padding)}


def _max_pool(pool: Any) -> dict[str, Any] | None:
    if pool.ceil_mode or pool.return_indices or _pair(pool.dilation) != [1, 1]:
        return None
    sizes = {"size": _pair(pool.kernel_size), "stride": _pair(pool.stride), "padding": _pair(pool.padding)}
    return {"op": "max_pool", **sizes}


def _mean_pool(pool: Any) -> dict[str, Any] | None:
    if pool.ceil_mode or _pair(pool.padding) != [0, 0] or pool.divisor_override is not None:
        return None
    return {"op": "mean_pool", "size": _pair(pool.kernel_size), "stride": _pair(pool.stride), "padding": [0, 0]}


def _global_mean(pool: Any) -> dict[str, Any] | None:
    return {"op": "global_mean"} if pool.output_size in (1, (1, 1)) else None


_DESCRIBED: dict[type[nn.Module], Callable[[Any], dict[str, Any] | None]] = {
    nn.Conv2d: _conv,
    nn.Linear: lambda _: {"op": "linear"},
    nn.ReLU: lambda _: {"op": "relu"},
    nn.Flatten: lambda _: {"op": "flatten"},
    nn.MaxPool2d: _max_pool,
    nn.AvgPool2d: _mean_pool,
    nn.AdaptiveAvgPool2d: _global_mean,
}


def _pair(value: int | tuple[int, ...]) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)


def steps_of(chain: Chain, largest: int) -> list[Step]:
    """The chain as plain data, its weights rounded to whole numbers from ``-largest`` to ``largest`` (at most 31).

    Layers have ``layer``, ``shape``, ``weights`` (a letter each), ``scales`` and ``bias`` (N). A weight is its whole
    number times its filter's scale. Activations are not rounded.
    """
    steps: list[Step] = []
    for name, module in chain:
        step = _DESCRIBED[type(module)](module)
        assert step is not None
        if isinstance(module, nn.Conv2d | nn.Linear):
            step |= {"layer": name, **_rounded(module, largest)}
        steps.append(step)
    return steps


def _rounded(layer: nn.Conv2d | nn.Linear, largest: int) -> dict[str, Any]:
    weights_NM = layer.weight.detach().flatten(1)
    num_outputs = len(weights_NM)
    scales = [_short(float(value) / largest) for value in weights_NM.abs().amax(1)]
    scales_N = torch.tensor([scale or 1.0 for scale in scales])
    whole_NM = (weights_NM / scales_N[:, None]).round().clamp(-largest, largest)
    bias = [0.0] * num_outputs if layer.bias is None else [_short(value) for value in layer.bias.tolist()]
    letters = _LETTERS[whole_NM.flatten().int().numpy() + 32].tobytes().decode()
    return {"shape": list(layer.weight.shape), "weights": letters, "scales": scales, "bias": bias}


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def network_of(steps: Sequence[Step]) -> nn.Sequential:
    """The network that ``steps`` describe, in eval mode."""
    return nn.Sequential(*map(_module, steps)).eval()


def _module(step: Step) -> nn.Module:
    if step["op"] in ("conv", "linear"):
        return _layer(step)
    if step["op"] == "max_pool":
        return nn.MaxPool2d(step["size"], step["stride"], step["padding"])
    if step["op"] == "mean_pool":
        return nn.AvgPool2d(step["size"], step["stride"])
    if step["op"] == "global_mean":
        return nn.AdaptiveAvgPool2d(1)
    return nn.ReLU() if step["op"] == "relu" else nn.Flatten()


def _layer(step: Step) -> nn.Module:
    shape = step["shape"]
    layer: nn.Conv2d | nn.Linear
    if step["op"] == "conv":
        layer = nn.Conv2d(shape[1], shape[0], shape[2:], step["stride"], step["padding"])
    else:
        layer = nn.Linear(shape[1], shape[0])
    places = np.searchsorted(_LETTERS, np.frombuffer(step["weights"].encode(), np.uint8), sorter=_SORTED)
    whole_NM = torch.from_numpy(_SORTED[places] - 32).view(shape[0], math.prod(shape[1:]))
    weights: Tensor = whole_NM * torch.tensor(step["scales"])[:, None]
    layer.load_state_dict({"weight": weights.view(shape), "bias": torch.tensor(step["bias"])})
    return layer
