"""Every evaluator gives what the in-process one gives, to the last bit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from raprune.baseline.prepare import prepare_baseline
from raprune.engine import Engine
from raprune.engine.inputs import Inputs
from raprune.engine.tasks import Energies, Factorise, Finetune, Importance, Measure, Task
from raprune.engine.workload import Workload
from raprune.errors import EvaluatorError
from raprune.evaluators.base import Evaluator, PoolAddress
from raprune.evaluators.engines import Engines
from raprune.evaluators.in_process import InProcess
from raprune.evaluators.memo import Keeping, Memo, Memoised
from raprune.launch.base import Launch
from raprune.launch.on_ray import RayRunner, ray_runner
from raprune.network.lowrank import Factor
from raprune.network.masks import KeepMask
from raprune.network.state import ALL_LAYERS, State
from raprune.registry import EVALUATORS, METHODS
from raprune.study import load_study
from raprune.study.parts import EvaluatorsSpec
from tests.evaluators.test_memo import CONDITIONS
from tests.launch.runs import Watch
from tests.tiny import write_study

LAYER = "features.10"
SPEC = EvaluatorsSpec(device="cpu")
Place = tuple[Workload, PoolAddress, Engines]
"""Where evaluators are: a pool's address, and the engines of this process."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> Iterator[Place]:
    """A prepared baseline with a fine-tune before each reward, and a pool of two evaluators."""
    folder = tmp_path_factory.mktemp("evaluators")
    plan = load_study(write_study(folder), ["finetune.before_reward={steps: 2}"])
    trial = plan.trials[0]
    (folder / "out").mkdir()
    with ray_runner(Launch(plan, folder / "out", plan.trials, 2), Watch()) as runner:
        assert isinstance(runner, RayRunner)
        runner.prepare(plan.trials)
        where = runner.place.baseline_folder(trial)
        assert prepare_baseline(trial, where).key == trial.baseline_key
        assert runner.place.pool is not None
        yield Workload.of(trial, where), runner.place.pool, Engines(Inputs(), SPEC, "cpu")


def masks(number: int = 6) -> list[KeepMask]:
    generator = torch.Generator().manual_seed(0)
    found = torch.rand(number, 8, generator=generator) < 0.6
    found[:, 0] = True
    return [KeepMask.of(mask) for mask in found]


def build(name: str, place: Place) -> Evaluator:
    workload, pool, engines = place
    where = engines if name == "in_process" else pool
    evaluator: Evaluator = EVALUATORS.build(name, SPEC.model_dump(), workload, where)
    return evaluator


@pytest.mark.parametrize("name", EVALUATORS.names())
def test_equals_the_serial_twin(name: str, place: Place) -> None:
    ours, twin = build(name, place), build("in_process", place)
    state = State.baseline(place[0].baseline_key)
    for lowest in (None, 60.0):
        found = [(e.scored.score, e.scored.images_scored) for e in ours.evaluate(state, LAYER, masks(), lowest)]
        assert found == [(e.scored.score, e.scored.images_scored) for e in twin.evaluate(state, LAYER, masks(), lowest)]
        assert len(found) == 6
    tuned = ours.run(Finetune("commit", state.version), state)
    assert tuned.version == twin.run(Finetune("commit", state.version), state).version != state.version
    for split in ("val", "test"):
        assert ours.run(Measure(split), tuned) == twin.run(Measure(split), tuned)
    for criterion in ("taylor", "apoz", "thinet"):
        importance = Importance(LAYER, METHODS.build(criterion, {"num_images": 30}))
        assert ours.run(importance, tuned) == twin.run(importance, tuned)
    for scheme in ("separable", "response_svd"):
        energies = ours.run(Energies(LAYER, scheme, 30), tuned)
        assert energies == twin.run(Energies(LAYER, scheme, 30), tuned)
        found, factorised = (one.run(Factorise(LAYER, Factor(scheme, 3), 30), tuned) for one in (ours, twin))
        assert found.version == factorised.version != tuned.version
        assert ours.run(Measure("val"), found) == twin.run(Measure("val"), factorised)
        assert ours.run(Finetune("commit", found.version), found).factors == {LAYER: Factor(scheme, 3)}
    again = ours.evaluate(tuned, LAYER, masks(2), None)
    assert [e.scored.score for e in again] == [e.scored.score for e in twin.evaluate(tuned, LAYER, masks(2), None)]
    number = sum(group.num_filters for group in place[2].of(place[0]).graph.groups.values())
    joint = [KeepMask.of(torch.arange(number) % step != 1) for step in (7, 5)]
    found, expected = (one.evaluate(tuned, ALL_LAYERS, joint, None) for one in (ours, twin))
    assert [e.scored.score for e in found] == [e.scored.score for e in expected]


@pytest.mark.parametrize("name", EVALUATORS.names())
def test_goes_on_from_a_tally(name: str, place: Place) -> None:
    evaluator, state = build(name, place), State.baseline(place[0].baseline_key)
    early = [e.scored for e in evaluator.evaluate(state, LAYER, masks(), 99.9)]
    whole = [e.scored for e in evaluator.evaluate(state, LAYER, masks(), None)]
    starts = [None, *(scored.tally for scored in early[1:])]
    rest = [e.scored for e in evaluator.evaluate(state, LAYER, masks(), None, starts)]
    assert [scored.tally for scored in rest] == [scored.tally for scored in whole]
    assert rest[0].images_scored == whole[0].images_scored
    for before, after, at_once in zip(early[1:], rest[1:], whole[1:], strict=True):
        assert before.score is None
        assert before.images_scored + after.images_scored == at_once.images_scored
    assert any(after.images_scored < at_once.images_scored for after, at_once in zip(rest, whole, strict=True))


@pytest.mark.parametrize("name", EVALUATORS.names())
def test_results_come_in_the_order_of_the_masks(name: str, place: Place) -> None:
    evaluator = build(name, place)
    state = State.baseline(place[0].baseline_key)
    forward = [e.scored.score for e in evaluator.evaluate(state, LAYER, masks(), None)]
    backward = [e.scored.score for e in evaluator.evaluate(state, LAYER, masks()[::-1], None)]
    assert forward == backward[::-1]
    assert len(set(forward)) > 1


@dataclass(frozen=True)
class LargestWeights(Task[tuple[dict[str, float], State]]):
    """A task that no file of raprune knows, and a state inside its result."""

    number: int

    def run(self, engine: Engine, state: State) -> tuple[dict[str, float], State]:
        tensors = state.tensors(engine.graph, engine.weights)
        largest = {name: float(tensors[name].max()) for name in list(tensors)[: self.number]}
        return largest, state.trained(tensors)


def memoised(place: Place, folder: Path) -> Evaluator:
    memo = Memo(folder)
    return Memoised(Keeping(build("in_process", place), memo, CONDITIONS), memo, CONDITIONS)


@pytest.mark.parametrize("name", [*EVALUATORS.names(), "memoised"])
def test_runs_a_task_of_its_own_kind(name: str, place: Place, tmp_path: Path) -> None:
    """A new task is a class and its caller; what it returns may be written to."""
    ours = memoised(place, tmp_path) if name == "memoised" else build(name, place)
    twin = build("in_process", place)
    assert isinstance(twin, InProcess)
    state = State.baseline(place[0].baseline_key)
    largest, trained = ours.run(LargestWeights(3), state)
    expected, same = LargestWeights(3).run(twin.engine, state)
    assert largest == expected
    assert len(largest) == 3
    assert trained.version == same.version
    assert all(array.flags.writeable for array in trained.arrays.values())
    assert LargestWeights(3).name == "largestweights"


def test_a_mistake_in_a_call_is_raised_not_retried(place: Place) -> None:
    evaluator = build("ray_pool", place)
    with pytest.raises(EvaluatorError, match=r"(?s)scoring masks of features\.10 failed on an evaluator"):
        evaluator.evaluate(State.baseline(place[0].baseline_key), LAYER, [KeepMask.whole(7)], None)


def test_the_pool_spreads_the_masks(place: Place) -> None:
    found = build("ray_pool", place).evaluate(State.baseline(place[0].baseline_key), LAYER, masks(), None)
    assert {e.evaluator for e in found} == {"evaluator-0", "evaluator-1"}
