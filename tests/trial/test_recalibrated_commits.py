"""Under ``fidelity: {finetune: recalibrate}`` what is committed starts from norms measured anew, as candidates do."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from raprune.engine.approximate import ApproximateEngine
from raprune.engine.tasks import Finetune, Task
from raprune.launch import run_study
from raprune.network.masks import KeepMask
from raprune.network.state import State
from raprune.registry import REWARDS
from raprune.results import read_study
from raprune.study import load_study
from raprune.study.fidelity import FidelitySpec
from raprune.trial.candidates import Candidates, Scale
from raprune.trial.committed import Committed
from raprune.trial.fallbacks import MAX_BISECTED, bisected
from raprune.trial.within_bound import Contract, commit_as_given, commit_within_bound
from tests.launch.runs import Watch
from tests.tiny import EngineEvaluator, Trained, engine_of, write_study

BASE, LAYER = State.baseline("baseline"), "features.10"


def test_a_candidate_is_what_was_scored(trained: Trained) -> None:
    engine = recalibrating(trained)
    group = engine.graph.group(LAYER)
    for step in (2, 3, 8):
        mask = KeepMask.of(torch.arange(group.num_filters) % step == 0)
        scored = engine.evaluate(BASE, LAYER, mask, None).score
        found = engine.candidate(BASE, LAYER, mask)
        assert engine.measure(found, "val") == scored
        assert engine.candidate(BASE, LAYER, mask).version == found.version
        cut = BASE.cut(engine.graph, LAYER, mask)
        assert scored != engine.measure(cut, "val")
        before, after = engine.build(cut), engine.build(found)
        for name, value in after.named_parameters():  # nothing but the norms' statistics changes
            assert torch.equal(value, before.get_parameter(name)), name
        norms = [name for name, module in before.named_modules() if isinstance(module, nn.BatchNorm2d)]
        same = [torch.equal(*(n.get_buffer(f"{name}.running_mean") for n in (before, after))) for name in norms]
        assert same == [True] * sum(same) + [False] * (len(norms) - sum(same))  # those below the layer stay
        assert 0 < sum(same) < len(norms)


def test_what_was_scored_is_committed_where_the_finetune_fails(trained: Trained) -> None:
    """So a layer is never left whole for want of a fine-tune that brings its best candidate within the bound."""
    engine = recalibrating(trained)
    mask = KeepMask.of(torch.arange(engine.graph.group(LAYER).num_filters) % 3 == 0)
    score = engine.evaluate(BASE, LAYER, mask, None).score
    assert score is not None
    scale = Scale(score + 1.0, 1.0, REWARDS.build("bounded_log", {"floor": -1.0}))
    candidates = Candidates(Ruinous(engine), BASE, LAYER, mask.num_filters, scale, lambda _: None)
    candidates([mask.tensor])
    contract = Contract(candidates.evaluator, engine.graph, scale, engine.fidelity)
    found = commit_within_bound(contract, candidates, mask, 0.0)
    assert found.keep_mask == mask
    assert found.finetuned_val_score == score
    assert found.state.version == engine.candidate(BASE, LAYER, mask).version


def test_a_matched_layer_starts_from_recalibrated_norms_too(trained: Trained) -> None:
    """The same fine-tune as the layer it is matched to: only the choice of filters differs."""
    engine = recalibrating(trained)
    mask = KeepMask.of(torch.arange(engine.graph.group(LAYER).num_filters) % 3 == 0)
    contract = Contract(EngineEvaluator(engine), engine.graph, whatever(), engine.fidelity)
    found = commit_as_given(contract, BASE, LAYER, mask)
    cut, candidate = BASE.cut(engine.graph, LAYER, mask), engine.candidate(BASE, LAYER, mask)
    assert found.state.version == engine.finetune(candidate, "commit", cut.version).version
    assert found.state.version != engine.finetune(cut, "commit", cut.version).version
    assert found.finetuned_val_score == engine.measure(found.state, "val")


class Ruinous(EngineEvaluator):
    """Its fine-tunes lose everything, from what they were given: it notes that."""

    def run(self, task: Task[Any], state: State) -> Any:
        if not isinstance(task, Finetune):
            return super().run(task, state)
        assert state.arrays, "a fine-tune starts from the recalibrated candidate"
        return state.trained({name: torch.zeros_like(t) for name, t in self.engine.build(state).state_dict().items()})


def whatever() -> Scale:
    return Scale(100.0, 100.0, REWARDS.build("bounded_log", {}))


@functools.cache
def recalibrating(trained: Trained) -> ApproximateEngine:
    full = engine_of(trained.network, trained.splits)
    return ApproximateEngine(replace(full.workload, fidelity=FidelitySpec(finetune="recalibrate")), "cpu", 0.0)


@pytest.mark.parametrize("least", [4, 13, 20, 29, 30])
def test_masks_of_approximate_scores_are_bisected(least: int) -> None:
    """The masks keep 3 to 29 filters; from ``least`` on they are within the bound."""
    masks = [(KeepMask.of(torch.arange(40) < kept), kept) for kept in range(3, 30)]
    asked: list[int] = []

    def tried(mask: KeepMask, kept: int) -> Committed | None:
        asked.append(kept)
        return Committed(BASE, mask, 0.0, 0.0, 0.0, kept) if kept >= least else None

    found = bisected(tried, masks, lambda _: None)
    assert (found.num_decided if found is not None else 30) == least
    assert len(set(asked)) == len(asked) <= MAX_BISECTED


@pytest.mark.slow
def test_layers_are_pruned_within_the_bound(tmp_path: Path) -> None:
    overrides = ("fidelity.finetune=recalibrate", "sweep.method=[agent]", "sweep.order=[low_to_high]",
                 "sweep.drop_bound=[8.0]", "layers=[features.10, features.40]")  # fmt: skip
    plan = load_study(write_study(tmp_path), overrides)
    assert run_study(plan, tmp_path / "out", Watch(), num_evaluators=0).exit_code == 0
    tables = read_study(tmp_path / "out")
    assert (tables.layers["num_kept"] < tables.layers["num_filters"]).all()
    assert (tables.trials["val_score_drop"] <= tables.trials["drop_bound"] + 1e-9).all()
