"""The surgery gauntlet as a matrix: raprune beside Torch-Pruning on the same networks with the same random masks.

    python benchmarks/surgery_gauntlet.py

All convolutions but the output's lose random filters (one mask for those that share channels). A network passes if the
smaller network runs and returns in float64 what the masked one returns. Torch-Pruning decides by itself which
convolutions go together; it gets the same filters to remove, and is compared with the same masked network.
"""

from __future__ import annotations

import copy
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from raprune.network.graph import Traced, trace
from raprune.network.measure import count_params
from raprune.network.surgery import shrink
from raprune.preflight.equivalence import prove, random_cuts
from tests.graph.networks import NETWORKS, make_lively

PASSED = "passed"
TOLERANCE = 1e-9


def raprune(name: str) -> str:
    """``passed`` in both residual modes, or what went wrong."""
    for residual in ("independent", "coupled"):
        try:
            traced = _traced(name, residual)
            prove(traced, NETWORKS[name].input_shape)
        except Exception as error:
            return _said(error)
        prunable, convs = traced.graph.prunable()
        if prunable < convs:
            return f"{prunable} of {convs} convolutions"
    return PASSED


@torch.no_grad()
def torch_pruning(name: str) -> str:
    """``passed``, or what went wrong."""
    traced = _traced(name, "coupled")
    plan = random_cuts(traced.graph, torch.Generator().manual_seed(0))
    images = _images(name)
    expected = shrink(traced, plan)(images)
    network = make_lively(name).double()
    try:
        _prune_with_peer(network, traced, plan, images)
        found = network(images)
    except Exception as error:
        return _said(error)
    found = next(iter(found.values())) if isinstance(found, dict) else found
    if found.shape != expected.shape:
        return f"gives {tuple(found.shape)}, not {tuple(expected.shape)}"
    worst = float((found - expected).abs().max() / expected.abs().max())
    if not worst <= TOLERANCE:
        return f"another function: differs by {worst:.1g} of the largest logit"
    whole, left = count_params(traced.network), count_params(network)
    return PASSED if left < whole else "removed nothing"


def _prune_with_peer(network: nn.Module, traced: Traced, plan: dict[str, Tensor], images: Tensor) -> None:
    import torch_pruning as tp

    with torch.enable_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = tp.DependencyGraph().build_dependency(network, example_inputs=images)
    for layer, mask in plan.items():
        member = traced.graph.group(layer).members[0]
        entries = torch.from_numpy(member.entries_N)
        gone = ((entries >= 0) & ~mask[entries.clamp(min=0)]).nonzero()[:, 0].tolist()
        if gone:
            group = graph.get_pruning_group(network.get_submodule(layer), tp.prune_conv_out_channels, idxs=gone)
            group.prune()


def matrix(names: Iterable[str] = tuple(NETWORKS)) -> dict[str, tuple[str, str]]:
    """Network -> what raprune and Torch-Pruning came to."""
    return {name: (raprune(name), torch_pruning(name)) for name in names}


def _traced(name: str, residual: str) -> Traced:
    network = copy.deepcopy(make_lively(name)).double()
    return trace(network, NETWORKS[name].input_shape, residual=residual, **NETWORKS[name].options)


def _images(name: str) -> Tensor:
    shape = NETWORKS[name].input_shape
    return torch.randn(2, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def _said(error: Exception) -> str:
    first = (str(error).strip().splitlines() or [""])[0]
    return f"fails: {type(error).__name__}: {first}"[:110]


def print_matrix(found: dict[str, tuple[str, str]]) -> None:
    """One row a network."""
    width = max(map(len, found))
    print(f"{'network':<{width}}  {'raprune':<10}  Torch-Pruning")
    for name, (own, peer) in found.items():
        print(f"{name:<{width}}  {own:<10}  {peer}")


if __name__ == "__main__":
    print_matrix(matrix())
