"""What sums cost: the modules that gather, and their share of the time."""

from __future__ import annotations

from pathlib import Path

from raprune.artefact import TrialNetworks, open_trial
from raprune.bench.gathers import Gathers, share_of_time
from tests.bench.trials import SHAPE, write_trial


def test_gathers_are_named_by_what_they_move(independent: TrialNetworks, tmp_path: Path) -> None:
    gathers = Gathers.of(independent.traced, independent.keep_masks)
    layers = set(gathers.layers.values())
    assert "layer1.0.conv2" in layers
    assert all(
        layer.endswith((".conv2", ".downsample.0")) or layer in ("conv1", "add") or "add_" in layer for layer in layers
    )
    assert 0 < share_of_time(independent.networks["pruned"], gathers.layers, (2, *SHAPE), 1) < 1
    coupled = open_trial(write_trial(tmp_path, "coupled"))
    assert not Gathers.of(coupled.traced, coupled.keep_masks).layers
    assert not Gathers.of(independent.traced, {}).layers
