"""The drop-bound contract: what may be committed, in which order it is tried, and what stays whole."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from raprune.engine import Engine
from raprune.engine.tasks import Task
from raprune.errors import RapruneError
from raprune.evaluators.memo import Memo, Memoised
from raprune.network.masks import KeepMask
from raprune.network.state import State
from raprune.plugins.decisions.base import DecisionStage
from raprune.plugins.methods.base import Evaluate, LayerView, Ranking
from raprune.plugins.methods.magnitude import Magnitude
from raprune.plugins.methods.random_order import RandomOrder, RandomSettings
from raprune.registry import DECISIONS, Settings
from raprune.trial.candidates import Candidates
from raprune.trial.deciding import decide_layer
from raprune.trial.within_bound import Contract, commit_as_given, commit_within_bound
from tests.evaluators.test_memo import CONDITIONS
from tests.tiny import EngineEvaluator, Trained, candidates_of, engine_of

LAYER = "features.24"


class Harmful(EngineEvaluator):
    """A real evaluator whose committed fine-tune ruins the network: its weights are shuffled."""

    def run(self, task: Task[Any], state: State) -> Any:
        if task.name != "finetune commit":
            return super().run(task, state)
        generator = torch.Generator().manual_seed(0)
        tensors = state.tensors(self.engine.graph, self.engine.weights)
        name = "classifier.2.weight"
        order = torch.randperm(tensors[name].shape[0], generator=generator)
        return state.trained({**tensors, name: tensors[name][order]})


def commit(candidates: Candidates, decided: KeepMask):  # type: ignore[no-untyped-def]
    evaluator = candidates.evaluator
    contract = Contract(evaluator, evaluator.engine.graph, candidates.scale)
    return commit_within_bound(contract, candidates, decided, 12.5)


@functools.cache
def engine_on(trained: Trained) -> Engine:
    """One for all tests: it keeps nothing that a test changes."""
    return engine_of(trained.network, trained.splits)


def searched(trained: Trained, drop_bound: float = 5.0) -> tuple[Candidates, KeepMask]:
    engine = engine_on(trained)
    candidates = candidates_of(engine, LAYER, drop_bound)
    view = LayerView(LAYER, engine.weights[f"{LAYER}.weight"].flatten(1))
    decision = DECISIONS.build("prefix", {})
    mask, *_ = decide_layer(Magnitude(Settings()), decision, view, candidates, torch.Generator().manual_seed(0))
    return candidates, mask


def test_what_is_within_the_bound_is_committed_finetuned(trained: Trained) -> None:
    candidates, mask = searched(trained)
    found = commit(candidates, mask)
    assert found.keep_mask == mask
    assert found.state.arrays
    assert candidates.scale.feasible(found.finetuned_val_score)
    assert found.pruned_val_score == candidates.score_of(mask)


def test_a_harmful_finetune_falls_back_to_the_measured_weights(trained: Trained) -> None:
    candidates, mask = searched(trained)
    candidates.evaluator = Harmful(candidates.evaluator.engine)
    found = commit(candidates, mask)
    assert found.keep_mask == mask
    assert not found.state.arrays
    assert found.finetuned_val_score == found.pruned_val_score == candidates.score_of(mask)


def test_an_infeasible_decision_falls_back_to_the_next_best_mask(trained: Trained) -> None:
    candidates, mask = searched(trained)
    candidates.evaluator = Harmful(candidates.evaluator.engine)
    hopeless = KeepMask.of(torch.arange(mask.num_filters) == 0)
    found = commit(candidates, hopeless)
    assert found.keep_mask == candidates.feasible_masks()[0]
    assert candidates.scale.feasible(found.finetuned_val_score)


def test_with_nothing_within_the_bound_the_layer_stays_whole(trained: Trained) -> None:
    candidates, mask = searched(trained)
    candidates.evaluator = Harmful(candidates.evaluator.engine)
    candidates.scale = replace(candidates.scale, baseline_score=300.0)
    found = commit(candidates, mask)
    assert found.keep_mask.keeps_all
    assert found.state is candidates.state
    assert found.finetuned_val_score == 12.5


def test_matched_layers_are_committed_whatever_they_score(trained: Trained) -> None:
    engine = engine_on(trained)
    mask = KeepMask.of(torch.arange(32) == 3)
    scale = candidates_of(engine, LAYER, drop_bound=5.0).scale
    contract = Contract(EngineEvaluator(engine), engine.graph, scale)
    found = commit_as_given(contract, State.baseline("baseline"), LAYER, mask)
    assert found.keep_mask == mask
    assert found.pruned_val_score < 80
    assert found.state.arrays


def test_bisection_scores_the_boundary(trained: Trained) -> None:
    """What is kept was scored feasible, and one filter fewer was scored infeasible."""
    engine = engine_on(trained)
    candidates = candidates_of(engine, LAYER, drop_bound=3.0)
    view = LayerView(LAYER, engine.weights[f"{LAYER}.weight"].flatten(1))
    ranking = RandomOrder(RandomSettings()).order(view, torch.Generator().manual_seed(2))
    assert sorted(ranking) == list(range(32))
    mask = DECISIONS.build("prefix", {}).decide(Ranking(ranking), candidates)
    num_kept = int(mask.sum())
    scored = {sum(row["keep_mask"]): row for row in candidates.rows}
    assert set(mask.nonzero()[:, 0].tolist()) == set(ranking[:num_kept])
    assert candidates.scale.feasible(scored[num_kept]["score"]) or num_kept == 32
    assert num_kept == 1 or not candidates.scale.feasible(scored[num_kept - 1]["score"])
    assert len(candidates.rows) <= 5


def test_candidates_remember_and_count(trained: Trained, tmp_path: Path) -> None:
    engine = engine_on(trained)
    candidates = candidates_of(engine, LAYER, drop_bound=3.0)
    candidates.evaluator = Memoised(candidates.evaluator, Memo(tmp_path), CONDITIONS)
    mask = torch.ones(32, dtype=torch.bool)
    mask[5] = False
    first = candidates([mask, mask], policy_entropy=0.5)
    again = candidates([mask])
    assert first[0] == first[1] == again[0]
    assert [row["from_memo"] for row in candidates.rows] == [False, True, True]
    assert [(row["update"], row["sample"]) for row in candidates.rows] == [(0, 0), (0, 1), (None, 0)]
    assert candidates.rows[1]["images_scored"] == 0
    assert len(candidates.update_rows) == 1
    with pytest.raises(ValueError, match="keep at least one"):
        candidates([torch.zeros(32, dtype=torch.bool)])
    with pytest.raises(ValueError, match="must be bool of shape"):
        candidates([torch.ones(31, dtype=torch.bool)])


class Given(Magnitude):
    """Ranks as it is told."""

    def __init__(self, order: list[int]) -> None:
        self.given = order

    def rank(self, layer: LayerView, evaluate: Evaluate, rng: torch.Generator) -> Ranking:
        return Ranking(self.given, agent_state={"of": torch.ones(1)})


class Careless(DecisionStage):
    """Decides for the mask it was given, whatever it is, and has none scored."""

    def __init__(self, keep_mask: torch.Tensor) -> None:
        self.keep_mask = keep_mask

    def decide(self, ranking: Ranking, evaluate: Evaluate) -> torch.Tensor:
        return self.keep_mask

    def asked(self, num_filters: int) -> tuple[int, int]:
        return 0, 0


def decided_by(order: list[int], mask: torch.Tensor, trained: Trained):  # type: ignore[no-untyped-def]
    candidates = candidates_of(engine_on(trained), LAYER, drop_bound=5.0)
    view = LayerView(LAYER, torch.zeros(32, 3))
    return candidates, decide_layer(Given(order), Careless(mask), view, candidates, torch.Generator())


@pytest.mark.parametrize(
    ("decided", "why"),
    [
        (torch.ones(31) > 0, "must be bool of shape"),
        (torch.ones(32), "must be bool"),
        (torch.ones(32) < 0, "at least one"),
    ],
)
def test_a_decision_is_checked_like_scored_masks(decided: torch.Tensor, why: str, trained: Trained) -> None:
    _, (mask, ranking, cut_short) = decided_by([*range(32)], torch.arange(32) > 3, trained)
    assert (mask.num_kept, list(ranking.agent_state), cut_short) == (28, ["of"], False)
    with pytest.raises(ValueError, match=why):
        decided_by([*range(32)], decided, trained)


@pytest.mark.parametrize("order", [[*range(31)], [0, *range(31)], [*range(1, 33)], [*range(33)]])
def test_a_ranking_has_each_filter_once(order: list[int], trained: Trained) -> None:
    with pytest.raises(RapruneError, match=r"the method Given must rank each filter of features.24, 0 to 31, once"):
        decided_by(order, torch.arange(32) > 3, trained)


def test_a_method_that_ranks_nothing_leaves_the_layer_whole(trained: Trained) -> None:
    _, (mask, ranking, _) = decided_by([], torch.arange(32) > 3, trained)
    assert mask.keeps_all
    assert list(ranking.agent_state) == ["of"]


def test_a_decision_that_was_never_scored_is_held_to_the_bound(trained: Trained) -> None:
    candidates, (mask, *_) = decided_by([*range(32)], torch.arange(32) == 3, trained)
    assert candidates.score_of(mask) is None
    found = commit(candidates, mask)  # over the bound, and no other mask was scored
    assert found.keep_mask.keeps_all
    assert found.state is candidates.state
