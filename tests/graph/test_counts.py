"""Parameters and multiply-adds of pruned networks against counts made by hand from the masks alone.

A rule per network says how many channels each convolution reads and gives; nothing of the graph is used but the masks.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from raprune.network.graph import Traced, trace
from raprune.network.measure import count_macs, count_params
from raprune.network.surgery import shrink
from raprune.preflight.equivalence import random_cuts
from tests.graph.networks import ALIKE, EVERY, make_lively

Masks = dict[str, Tensor]
Widths = dict[str, tuple[int, int]]
"""Convolution -> channels that it reads, and filters that it keeps; ``end``: channels that reach the head, twice."""


def chain(network: nn.Module, masks: Masks, residual: str) -> Widths:
    """One convolution after another (VGG, FCN-32s)."""
    widths, before = {}, 3
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            after = int(masks[name].sum()) if name in masks else module.out_channels
            widths[name] = (before, after)
            before = after
    return {**widths, "end": (before, before)}


def unpooling(network: nn.Module, masks: Masks, residual: str) -> Widths:
    """SegNet: a decoder's last convolution before an un-pooling keeps what the encoder's last before that pool does."""
    convs = [name for name, m in network.named_modules() if isinstance(m, nn.Conv2d)]
    encoder, decoder = convs[:13], convs[13:]
    shared = {decoder[2]: encoder[9], decoder[5]: encoder[6], decoder[8]: encoder[3], decoder[10]: encoder[1]}
    whole = {decoder[12]: torch.ones(network.get_submodule(decoder[12]).out_channels, dtype=torch.bool)}
    every = {**masks, **{late: masks[early] for late, early in shared.items()}, **whole}
    return chain(network, every, residual)


def basic_blocks(network: nn.Module, masks: Masks, residual: str) -> Widths:
    """A ResNet of two-convolution blocks; what is left of a stream is what any summand keeps (or its one mask)."""
    widths = {"conv1": (3, int(masks["conv1"].sum()))}
    stream, first = masks["conv1"], "conv1"
    for block in dict.fromkeys(re.sub(r"\.conv1$", "", n) for n, _ in network.named_modules() if n.endswith(".conv1")):
        names = [n for n, m in network.named_modules() if n.startswith(f"{block}.") and isinstance(m, nn.Conv2d)]
        reads = int(stream.sum())
        inner = masks[f"{block}.conv1"]
        widths[f"{block}.conv1"] = (reads, int(inner.sum()))
        shortcut = next((n for n in names if "conv" not in n.rpartition(".")[2]), None)
        last = f"{block}.conv2"
        if shortcut:
            first = last
        own = masks[last if residual == "independent" else first]
        widths[last] = (int(inner.sum()), int(own.sum()))
        if shortcut:
            own_shortcut = masks[shortcut] if residual == "independent" else own
            widths[shortcut] = (reads, int(own_shortcut.sum()))
            stream = own | own_shortcut
        else:
            stream = stream | own
    return {**widths, "end": (int(stream.sum()),) * 2}


def dense_blocks(network: nn.Module, masks: Masks, residual: str) -> Widths:
    """DenseNet: every layer reads all that came before it in its block."""
    widths: Widths = {"features.conv0": (3, int(masks["features.conv0"].sum()))}
    reads = widths["features.conv0"][1]
    for name, module in network.named_modules():
        if not isinstance(module, nn.Conv2d) or name == "features.conv0":
            continue
        kept = int(masks[name].sum())
        if name.endswith(".conv2"):
            widths[name] = (widths[name[:-1] + "1"][1], kept)
            reads += kept
        else:
            widths[name] = (reads, kept)
            reads = kept if "transition" in name else reads
    return {**widths, "end": (reads, reads)}


RULES: dict[str, Callable[[nn.Module, Masks, str], Widths]] = {
    "vgg16": chain,
    "vgg16_imagenet": chain,
    "torchvision vgg11_bn": chain,
    "fcn32s": chain,
    "segnet": unpooling,
    "resnet18": basic_blocks,
    "torchvision densenet121": dense_blocks,
    "torchvision densenet, short": dense_blocks,
}


def by_hand(network: nn.Module, widths: Widths, whole: Widths, shape: tuple[int, ...]) -> tuple[int, int]:
    """Parameters and macs of convolutions of these widths and of the linear layers behind them; ``whole`` unpruned."""
    positions = {}
    hooks = [
        m.register_forward_hook(lambda m, i, out, n=n: positions.update({n: (i[0][0, 0].numel(), out[0, 0].numel())}))
        for n, m in network.named_modules()
        if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)
    ]
    with torch.no_grad():
        network(torch.zeros(1, *shape))
    for hook in hooks:
        hook.remove()
    params = macs = 0
    for name, (reads, keeps) in widths.items():
        if name == "end":
            continue
        module = network.get_submodule(name)
        assert isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
        weight = reads * keeps * math.prod(module.kernel_size)
        params += weight + (keeps if module.bias is not None else 0)
        macs += weight * positions[name][0 if isinstance(module, nn.ConvTranspose2d) else 1]
    for number, linear in enumerate(m for m in network.modules() if isinstance(m, nn.Linear)):
        left = linear.in_features // whole["end"][0] * widths["end"][0] if number == 0 else linear.in_features
        params += left * linear.out_features + linear.out_features
        macs += left * linear.out_features
    return params, macs


def norm_params(small: nn.Module) -> int:
    """Two for each channel of each norm, by the shape of its statistics in the smaller network."""
    return sum(2 * m.running_mean.numel() for m in small.modules() if isinstance(m, nn.BatchNorm2d))


SLOW = pytest.mark.slow
LONG = {"torchvision densenet121", "torchvision vgg11_bn"}
"""Networks that take long; the short densenet and vgg16 are counted by the same rules."""
CASES = [
    *(pytest.param(name, "independent", marks=[SLOW] if name in LONG else []) for name in RULES),
    *(pytest.param(name, "coupled", marks=[SLOW] if name in ALIKE else []) for name in RULES),
]


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=SLOW)])
@pytest.mark.parametrize(("name", "residual"), CASES)
def test_counts(name: str, residual: str, seed: int) -> None:
    entry, network = EVERY[name], make_lively(name)
    traced: Traced = trace(network, entry.input_shape, residual=residual)
    masks = random_cuts(traced.graph, torch.Generator().manual_seed(seed))
    small = shrink(traced, masks)
    whole = RULES[name](network, {layer: torch.ones_like(mask) for layer, mask in masks.items()}, residual)
    widths = RULES[name](network, masks, residual)
    for conv in [conv for conv in widths if conv != "end"]:
        module = small.get_submodule(conv)
        assert (module.in_channels, module.out_channels) == widths[conv], conv
    params, macs = by_hand(network, widths, whole, entry.input_shape)
    assert count_params(small) == params + norm_params(small)
    assert count_macs(small, entry.input_shape) == macs
