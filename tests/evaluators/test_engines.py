"""Several engines in one process: what they hold of a device's memory does not grow with their number."""

from __future__ import annotations

import gc
from dataclasses import replace

from raprune.engine.exact import ExactEngine
from raprune.engine.inputs import Inputs
from raprune.engine.moving import _MOVED
from raprune.evaluators.engines import Engines
from raprune.network.masks import KeepMask
from raprune.network.state import State
from raprune.study.parts import EvaluatorsSpec
from tests.tiny import engine_of, lively_vgg, own_labels

STATE = State.baseline("baseline")


def test_engines_share_the_room_for_what_they_keep_and_their_data() -> None:
    network = lively_vgg()
    splits = own_labels(network, 60)
    first = engine_of(network, splits).workload
    engines = Engines(Inputs(), EvaluatorsSpec(cache_gib=2e-4), "cpu", most=3)
    held = [engines.of(replace(first, key=key)) for key in ("one", "two", "three")]
    stores, alone = set(), list[object]()
    for engine in held:
        assert isinstance(engine, ExactEngine)
        stores.add(engine.store)
        mask = KeepMask.of(engine.weights["features.10.weight"].flatten(1).mean(1) > 0)
        alone.append(engine.evaluate(STATE, "features.10", mask, None).tally)
        assert engine.splits is held[0].splits
    (store,) = stores
    assert 0 < store.num_bytes <= store.capacity == int(2e-4 * 2**30)  # type: ignore[attr-defined]
    assert alone[0] == alone[1] == alone[2]


def test_data_on_a_device_go_with_the_last_engine_that_uses_them() -> None:
    network = lively_vgg()
    splits = own_labels(network, 20)
    engines = Engines(Inputs(), EvaluatorsSpec(), "cpu")
    engines.of(replace(engine_of(network, splits).workload, key="one"))
    assert (id(splits), "cpu") in _MOVED
    engines.close()
    gc.collect()
    assert (id(splits), "cpu") not in _MOVED


def test_an_engine_that_keeps_nothing_gets_no_room() -> None:
    network = lively_vgg()
    engines = Engines(Inputs(), EvaluatorsSpec(engine="naive"), "cpu")
    assert engines.of(engine_of(network, own_labels(network, 20)).workload).store is None
    assert engines.store is None
