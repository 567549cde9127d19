"""Small networks of kinds that were once refused: proved, with unknown parts left whole; the zoo lists all kinds."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from benchmarks.zoo_table import sums, table
from raprune.network.graph import trace
from raprune.preflight.equivalence import prove

SHAPE = (3, 32, 32)

KINDS: dict[str, tuple[str, dict[str, Any], tuple[int, int], str | None]] = {
    "channels-first layer norms": ("convnext_atto", {}, (12, 40), "norm.py"),
    "a 1-D convolution over channels": ("resnet10t", {"block_args": {"attn_layer": "eca"}}, (10, 14), "eca.py"),
    "selective kernels": ("skresnet18", {}, (20, 44), "selective_kernel.py"),
    "split attention": ("resnest14d", {}, (19, 27), "split_attn.py"),
    "weights that are standardised, short": ("test_nfnet", {}, (5, 33), "it computes with all channels"),
    "weights that are standardised": ("nf_regnet_b0", {}, (17, 86), "it computes with all channels"),
    "splits of channels": ("ghostnet_050", {}, (95, 95), None),
}
"""Network of timm, its settings, what can be pruned of how many convolutions, and a part of why not."""


LONG = {
    "weights that are standardised": "the short network has them, too",
    "selective kernels": "split attention is of the same kind",
    "splits of channels": "channel shuffles, below, are split, too",
}
"""Kinds that take long -> the fast test of what they show."""


@pytest.mark.parametrize("kind", [pytest.param(k, marks=pytest.mark.slow) if k in LONG else k for k in KINDS])
def test_what_was_refused_is_proved(kind: str) -> None:
    timm = pytest.importorskip("timm", reason="needs timm, a dependency of the tests")
    name, settings, expected, why = KINDS[kind]
    torch.manual_seed(0)
    network: nn.Module = timm.create_model(name, num_classes=10, **settings).eval()
    traced = trace(network, SHAPE)
    assert traced.graph.prunable() == expected
    assert why is None or any(why in reason for reason in traced.graph.whole.values())
    prove(traced, SHAPE)


def test_channel_shuffles_are_followed() -> None:
    from torchvision.models import shufflenet_v2_x0_5

    torch.manual_seed(0)
    traced = trace(shufflenet_v2_x0_5(num_classes=10).eval(), SHAPE)
    assert traced.graph.prunable() == (56, 56)
    prove(traced, SHAPE)


def test_the_table_says_what_came_of_each() -> None:
    rows = [
        {"network": "timm b", "result": "proved", "why": "", "prunable": 8, "convolutions": 10, "seconds": 2.0},
        {"network": "timm a", "result": "refused", "why": "no layer\nat all", "convolutions": 10, "seconds": 1.0},
        {"network": "torchvision c", "result": "proved", "why": "", "prunable": 20, "convolutions": 20, "seconds": 1.0},
    ]
    assert "| timm | 2 | 1 | 1 | 0 | 0 | 8 of 20 (40.0%) |  |" in sums(rows)
    lines = table(rows).splitlines()
    assert "| torchvision c | proved | 20 of 20 | 1 |  |  |" in lines
    assert "| timm a | refused: no layer at all |  | 1 |  |  |" in lines
