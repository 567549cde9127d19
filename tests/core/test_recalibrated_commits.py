"""Under ``fidelity: {finetune: recalibrate}`` what is committed starts from norms measured anew, as candidates do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from raprune.commit import MAX_BISECTED, Committed, _bisected
from raprune.engine.approximate import ApproximateEngine
from raprune.evaluating import Purpose
from raprune.launch import run_study
from raprune.results import read_study
from raprune.state import State
from raprune.study import load_study
from raprune.study.fidelity import FidelitySpec
from tests.launch.runs import Watch
from tests.tiny import Trained, engine_of, write_study

BASE, LAYER = State.baseline("baseline"), "features.10"
PURPOSES: tuple[Purpose, ...] = ("reward", "commit")


def test_a_commit_starts_from_recalibrated_norms(trained: Trained) -> None:
    full = engine_of(trained.network, trained.splits)
    engine = ApproximateEngine(replace(full.workload, fidelity=FidelitySpec(finetune="recalibrate")), "cpu", 0.0)
    mask = torch.arange(engine.graph.group(LAYER).num_filters) % 8 == 0
    cut = BASE.cut(engine.graph, LAYER, mask)
    before = engine.build(cut)
    norms = [name for name, module in before.named_modules() if isinstance(module, nn.BatchNorm2d)]
    scored = engine.build(engine.finetune(cut, "reward", BASE.version))
    for name, value in scored.named_parameters():  # no steps: nothing but the norms' statistics changes
        assert torch.equal(value, before.get_parameter(name)), name
    for purpose in PURPOSES:
        found = engine.finetune(cut, purpose, BASE.version)
        after = engine.build(found)
        for name in norms:
            buffer = f"{name}.running_mean"
            assert not torch.equal(after.get_buffer(buffer), before.get_buffer(buffer)), name
        assert engine.measure(found, "val") > engine.measure(cut, "val")
        assert engine.finetune(cut, purpose, BASE.version).version == found.version
    assert engine.finetune(cut, "final", BASE.version).version == full.finetune(cut, "final", BASE.version).version


@pytest.mark.parametrize("least", [4, 13, 20, 29, 30])
def test_masks_of_approximate_scores_are_bisected(least: int) -> None:
    """The masks keep 3 to 29 filters; from ``least`` on they are within the bound."""
    masks = [(torch.arange(40) < kept, kept) for kept in range(3, 30)]
    asked: list[int] = []

    def tried(mask: torch.Tensor, kept: int) -> Committed | None:
        asked.append(kept)
        return Committed(BASE, mask, 0.0, 0.0, kept) if kept >= least else None

    found = _bisected(tried, masks)
    assert (found.num_decided if found is not None else 30) == least
    assert len(set(asked)) == len(asked) <= MAX_BISECTED


def test_layers_are_pruned_within_the_bound(tmp_path: Path) -> None:
    overrides = ("fidelity.finetune=recalibrate", "sweep.method=[agent]", "sweep.order=[low_to_high]",
                 "sweep.drop_bound=[8.0]", "layers=[features.10, features.40]")  # fmt: skip
    plan = load_study(write_study(tmp_path), overrides)
    assert run_study(plan, tmp_path / "out", Watch(), num_evaluators=0).exit_code == 0
    tables = read_study(tmp_path / "out")
    assert (tables.layers["num_kept"] < tables.layers["num_filters"]).all()
    assert (tables.trials["val_score_drop"] <= tables.trials["drop_bound"] + 1e-9).all()
