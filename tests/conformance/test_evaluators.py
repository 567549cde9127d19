"""Every evaluator gives what the in-process one gives, to the last bit."""

from __future__ import annotations

from collections.abc import Iterator
from unittest.mock import MagicMock

import pytest
import torch

from raprune.baseline.prepare import prepare_baseline
from raprune.engine.inputs import Inputs
from raprune.engine.workload import Workload
from raprune.errors import EvaluatorError
from raprune.evaluators.base import Evaluator, PoolAddress
from raprune.evaluators.dispatch import MAX_ATTEMPTS, Call, Dispatcher
from raprune.evaluators.engines import Engines
from raprune.launch.on_ray import RayRunner, ray_runner
from raprune.network.lowrank import Factor
from raprune.network.state import State
from raprune.plugins.scores.base import Tally
from raprune.registry import EVALUATORS
from raprune.study import load_study
from raprune.study.parts import EvaluatorsSpec
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
    with ray_runner(plan, folder / "out", plan.trials, 2, None, Watch()) as runner:
        assert isinstance(runner, RayRunner)
        runner.prepare(plan.trials)
        where = runner.place.baseline_folder(trial)
        assert prepare_baseline(trial, where).key == trial.baseline_key
        assert runner.place.pool is not None
        yield Workload.of(trial, where), runner.place.pool, Engines(Inputs(), SPEC, "cpu")


def masks(number: int = 6) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    found = torch.rand(number, 8, generator=generator) < 0.6
    found[:, 0] = True
    return list(found)


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
    tuned = ours.finetune(state, "commit", state.version)
    assert tuned.version == twin.finetune(state, "commit", state.version).version != state.version
    for split in ("val", "test"):
        assert ours.measure(tuned, split) == twin.measure(tuned, split)
    for scheme in ("separable", "response_svd"):
        energies = ours.energies(tuned, LAYER, scheme, 30)
        assert energies == twin.energies(tuned, LAYER, scheme, 30)
        found, factorised = (of.factorise(tuned, LAYER, Factor(scheme, 3), 30) for of in (ours, twin))
        assert found.version == factorised.version != tuned.version
        assert ours.measure(found, "val") == twin.measure(factorised, "val")
        assert ours.finetune(found, "commit", found.version).factors == {LAYER: Factor(scheme, 3)}
    again = ours.evaluate(tuned, LAYER, masks(2), None)
    assert [e.scored.score for e in again] == [e.scored.score for e in twin.evaluate(tuned, LAYER, masks(2), None)]


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


@pytest.mark.parametrize("name", EVALUATORS.names())
def test_describes_what_it_holds(name: str, place: Place) -> None:
    described = build(name, place).describe()
    assert {entry["baseline"] for entry in described} == {place[0].baseline_key}
    assert {entry["device"] for entry in described} == {"cpu"}
    assert all(int(str(entry["bytes"])) > 1_000_000 for entry in described)
    assert len({entry["name"] for entry in described}) == len(described)


def test_a_mistake_in_a_call_is_raised_not_retried(place: Place) -> None:
    evaluator = build("ray_pool", place)
    with pytest.raises(EvaluatorError, match=r"(?s)scoring masks of features\.10 failed on an evaluator"):
        evaluator.evaluate(State.baseline(place[0].baseline_key), LAYER, [torch.ones(7, dtype=torch.bool)], None)


def test_the_masks_of_a_call_that_kills_its_evaluators_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    def died(ref: object) -> None:
        raise ray.exceptions.RayActorError

    monkeypatch.setattr(ray, "get", died)
    call = Call([(b"\1\0\1", None), (b"\0\1\1", Tally([1], [4], 4, 70.0, False))], [0, 1], attempts=MAX_ATTEMPTS - 1)
    with pytest.raises(EvaluatorError, match=r"masks, for replay: \[\[1, 0, 1\], \[0, 1, 1\]\]"):
        Dispatcher([MagicMock()])._collect("ref", call, 0, {}, "scoring")


def test_the_pool_spreads_the_masks(place: Place) -> None:
    found = build("ray_pool", place).evaluate(State.baseline(place[0].baseline_key), LAYER, masks(), None)
    assert {e.evaluator for e in found} == {"evaluator-0", "evaluator-1"}
