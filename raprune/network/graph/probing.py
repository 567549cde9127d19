"""Tests whether a custom layer follows the rule of the layer it extends: cuts it alone and compares the outputs.

Libraries and users derive from convolutions, norms and linear layers: to pad (harmless), to compute the weight (a
standardised weight changes with fewer channels), or to mix channels. Hooks may do the same.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from raprune.network.graph.plain import is_altered
from raprune.network.graph.sizes import follow_tensors

PLAIN = (
    nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.PReLU, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d,
    nn.SyncBatchNorm, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d,
)  # fmt: skip
TOLERANCE = 1e-9
"""Allowed difference in float64, as a share of the largest value."""


def is_stock(module: nn.Module) -> bool:
    """Whether a layer is one of torch's own with a rule, and the instance is unaltered."""
    return type(module) in PLAIN and not is_altered(module)


@torch.no_grad()
def obeys(
    module: nn.Module, input_shape: tuple[int, ...], cuts: dict[tuple[str, int], int], reads: int, gives: int,
    depthwise: int | None = None,
) -> bool:  # fmt: skip
    """Whether ``module`` without some channels returns the same as before on an input whose removed channels are zero.

    ``cuts`` are the dimensions of its tensors that lose entries: (tensor, dimension) -> the number of runs that its
    entries form, each of which loses the same entries. ``reads`` and ``gives`` are the runs of its input's and its
    output's channels; 0 means that all are kept.
    """
    generator = torch.Generator().manual_seed(0)
    whole = copy.deepcopy(module).eval()
    try:
        whole = whole.double()
        images = torch.randn(input_shape, generator=generator, dtype=torch.float64)
        images = images.to(next(iter(whole.state_dict().values()), images).device)
        _enliven(whole, generator)
        small = copy.deepcopy(whole)
        for (name, dim), runs in cuts.items():
            tensor = getattr(small, name)
            part = tensor.detach().index_select(dim, _some(tensor.shape[dim], runs).to(tensor.device))
            if isinstance(tensor, nn.Parameter):
                small._parameters[name] = nn.Parameter(part)
            else:
                small._buffers[name] = part
        follow_tensors(small, depthwise)
        kept = _some(images.shape[1], reads).to(images.device)
        zeroed = torch.zeros_like(images).index_copy(1, kept, images.index_select(1, kept))
        expected, found = whole(zeroed), small(zeroed.index_select(1, kept).clone())
        return _same(expected, found, gives)
    except (RuntimeError, ValueError, IndexError, TypeError, AttributeError, AssertionError):
        return False


def _same(expected: Any, found: Any, gives: int) -> bool:
    if not isinstance(expected, Tensor) or not isinstance(found, Tensor):
        return False
    expected = expected.index_select(1, _some(expected.shape[1], gives).to(expected.device))
    if expected.shape != found.shape:
        return False
    return bool((expected - found).abs().max() <= TOLERANCE * expected.abs().max())


def _some(size: int, runs: int) -> Tensor:
    """Two of every three entries in each of ``runs`` runs; all entries if ``runs`` is 0."""
    if runs == 0:
        return torch.arange(size)
    places = torch.arange(size).view(runs, -1)
    return places[:, [i for i in range(places.shape[1]) if i % 3 != 1]].flatten()


def _enliven(module: nn.Module, generator: torch.Generator) -> None:
    """Fill tensors with random values, so that effects of constants (zeros, ones) show."""
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator, dtype=torch.float64).to(tensor.device))
