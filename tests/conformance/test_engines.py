"""Every engine: the scores of the reference, and what it declares is what it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from raprune.engine import Engine, NaiveEngine, engine_kind, open_engine
from raprune.engine.contract import EngineKind
from raprune.engine.split import Crossing
from raprune.errors import InputError
from raprune.network.masks import KeepMask
from raprune.network.state import State
from raprune.registry import ENGINES, Plugin
from raprune.study.fidelity import FidelitySpec
from raprune.study.parts import EvaluatorsSpec
from tests.tiny import engine_of, lively_short, own_labels

LAYER, NUM_FILTERS, NUM_IMAGES = "features.10", 8, 120
BASELINE = State.baseline("baseline")

every = pytest.mark.parametrize("plugin", [pytest.param(plugin, id=plugin.name) for plugin in ENGINES])


class Counting:
    """A store that keeps nothing and counts what it is asked for."""

    def __init__(self) -> None:
        self.asked = 0

    def batch(self, key: str, index: int, compute: Callable[[], Crossing]) -> Crossing:
        self.asked += 1
        return compute()


@pytest.fixture(scope="module")
def reference() -> Engine:
    network = lively_short(dtype=torch.float64)
    return engine_of(network, own_labels(network, NUM_IMAGES), naive=True)


def masks() -> list[KeepMask]:
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.rand(NUM_FILTERS, generator=generator) < 0.6 for _ in range(4)]
    return [KeepMask.of(mask) for mask in drawn if mask.any()]


def opened(plugin: Plugin, reference: Engine, store: Counting | None = None) -> Engine:
    return open_engine(reference.workload, "cpu", EvaluatorsSpec(engine=plugin.name), store)


@every
def test_it_declares_what_it_can(plugin: Plugin) -> None:
    kind = engine_kind(EvaluatorsSpec(engine=plugin.name))
    assert isinstance(kind, EngineKind)
    assert plugin.declared == {key: getattr(kind, key) for key in ("has_fidelities", "gives_up", "reuses")}


@every
def test_its_scores_are_the_references(plugin: Plugin, reference: Engine) -> None:
    assert isinstance(reference, NaiveEngine)
    engine = opened(plugin, reference)
    scores = [[one.evaluate(BASELINE, LAYER, mask, None).score for mask in masks()] for one in (engine, reference)]
    assert scores[0] == scores[1]
    assert len(set(scores[0])) > 1


@every
def test_it_gives_up_if_it_says_so(plugin: Plugin, reference: Engine) -> None:
    scored = opened(plugin, reference).evaluate(BASELINE, LAYER, masks()[0], 100.0)
    assert scored.score is None
    assert (scored.images_scored < NUM_IMAGES) is plugin.declared["gives_up"]


@every
def test_it_keeps_activations_for_the_host_if_it_says_so(plugin: Plugin, reference: Engine) -> None:
    store = Counting()
    opened(plugin, reference, store).evaluate(BASELINE, LAYER, masks()[0], None)
    assert (store.asked > 0) is plugin.declared["reuses"]


@every
def test_it_has_fidelities_if_it_says_so(plugin: Plugin, reference: Engine) -> None:
    workload = replace(reference.workload, fidelity=FidelitySpec(val_images=40))
    spec = EvaluatorsSpec(engine=plugin.name)
    if plugin.declared["has_fidelities"]:
        scored = open_engine(workload, "cpu", spec).evaluate(BASELINE, LAYER, masks()[0], None)
        assert scored.images_scored == 40
    else:
        with pytest.raises(InputError, match=f"the {plugin.name} engine has no fidelities"):
            open_engine(workload, "cpu", spec)
