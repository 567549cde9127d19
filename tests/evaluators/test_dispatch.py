"""The dispatcher on a cluster that is a few lines of Python: calls that are lost, actors that come and go."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from raprune.errors import EvaluatorError, InputError
from raprune.evaluators.backend import CallError, LostError
from raprune.evaluators.dispatch import MAX_ATTEMPTS, Call, Dispatcher
from raprune.evaluators.members import Turn
from raprune.evaluators.pulse import LONG_S, Pulses
from raprune.evaluators.roster import Roster
from raprune.network.masks import KeepMask
from raprune.plugins.scores.base import Tally
from tests.evaluators.plain import Plain


@pytest.fixture
def plain() -> Plain:
    return Plain()


def run(plain: Plain, dispatcher: Dispatcher, number: int = 8, limit_s: float | None = None) -> list[Any]:
    calls = [Call([n], [n]) for n in range(number)]
    return dispatcher.run(calls, lambda actor, items: plain.call(actor, "double", items), "scoring", limit_s)


def names(*names: str) -> dict[str, str]:
    return {name: name for name in names}


def test_the_least_busy_comes_first_and_two_are_in_flight(plain: Plain) -> None:
    assert run(plain, Dispatcher(names("a", "b"), plain, turn=Turn(1, 2))) == [2 * n for n in range(8)]
    assert [actor for actor, _, _ in plain.calls][:4] == ["b", "a", "b", "a"]


def test_a_trial_stays_with_its_evaluators_and_trials_spread_evenly(plain: Plain) -> None:
    """Four trials of three calls on twelve evaluators share none; of more trials, every third begins anew."""
    pool = names(*"abcdefghijkl")
    used = []
    for number in range(4):
        dispatcher, plain.calls = Dispatcher(pool, plain, Turn(number, 4)), []
        for _ in range(3):
            run(plain, dispatcher, 3)
        used.append({actor for actor, _, _ in plain.calls})
    assert used == [set("abc"), set("def"), set("ghi"), set("jkl")]
    assert [Turn(number, 100, 4.0).first(12) % 12 for number in range(6)] == [0, 4, 8, 0, 4, 8]


def test_in_a_small_pool_calls_go_round(plain: Plain) -> None:
    """Three calls on four evaluators, four times: each gets three."""
    dispatcher = Dispatcher(names(*"abcd"), plain)
    for _ in range(4):
        run(plain, dispatcher, 3)
    assert Counter(actor for actor, _, _ in plain.calls) == dict.fromkeys("abcd", 3)


def test_a_lost_call_is_made_again_item_by_item(plain: Plain) -> None:
    """One that kills actors fails alone; the actor gets nothing before it answers."""
    plain.fates["a"] = [LostError("killed")]
    dispatcher = Dispatcher(names("a"), plain)
    assert dispatcher.run([Call([1, 2, 3], [0, 1, 2])], lambda a, i: plain.call(a, "double", i), "x") == [2, 4, 6]
    assert [(method, *rest) for _, method, rest in plain.calls] == [
        ("double", [1, 2, 3]), ("ping",), ("double", [1]), ("double", [2]), ("double", [3]),
    ]  # fmt: skip


def test_the_masks_of_a_call_that_kills_its_evaluators_are_told(plain: Plain) -> None:
    plain.fates["a"] = [LostError("killed")] * 9
    items = [(KeepMask(b"\1\0\1"), None), (KeepMask(b"\0\1\1"), Tally([1], [4], 4, 70.0, False))]
    call = Call(items, [0, 1], lost_on=[""] * (MAX_ATTEMPTS - 1))
    with pytest.raises(EvaluatorError, match=r"died 4 times.*\nmasks, for replay: \[\[1, 0, 1\], \[0, 1, 1\]\]"):
        Dispatcher(names("a"), plain).run([call], lambda a, i: plain.call(a, "double", i), "scoring")


@pytest.mark.parametrize(("memory", "times"), [(False, MAX_ATTEMPTS), (True, 2)])
def test_how_often_a_call_is_made(plain: Plain, memory: bool, times: int) -> None:
    plain.fates["a"] = [LostError("lost", memory=memory)] * (times - 1)
    assert run(plain, Dispatcher(names("a"), plain), 1) == [0]
    plain.fates["a"] = [LostError("lost", memory=memory)] * times
    with pytest.raises(EvaluatorError, match="the last time lost"):
        run(plain, Dispatcher(names("a"), plain), 1)


def test_a_machine_that_is_lost_is_not_the_calls_fault(plain: Plain) -> None:
    plain.beats("a", "n0")
    plain.fates["a"] = [LostError("lost")] * 20
    with pytest.raises(EvaluatorError, match=r"died 4 times; the last time \(host h, process 7\) lost"):
        run(plain, Dispatcher(names("a"), plain, pulses=Pulses(plain)), 1)
    plain.fates["a"] = [LostError("lost")] * 20
    plain.there = plain.there[1:]
    assert run(plain, Dispatcher(names("a"), plain, pulses=Pulses(plain)), 1) == [0]


def test_errors_of_a_call_are_raised_not_repeated(plain: Plain) -> None:
    plain.fates["a"] = [InputError("no such layer")]
    with pytest.raises(InputError, match="no such layer"):
        run(plain, Dispatcher(names("a"), plain))
    plain.fates["a"] = [CallError("Traceback: its own")]
    with pytest.raises(EvaluatorError, match="scoring failed on an evaluator:\nTraceback: its own"):
        run(plain, Dispatcher(names("a"), plain))


def test_one_that_hangs_is_killed_and_its_calls_go_elsewhere(plain: Plain) -> None:
    plain.beats("a", "n0")
    plain.silent = {0}
    dispatcher = Dispatcher(names("a", "b"), plain, pulses=Pulses(plain))

    def lost() -> None:
        plain.silent = set()
        plain.fates["a"] = [LostError("it was ended")]

    plain.kill = lambda actor, *, restart: (plain.killed.append((actor, restart)), lost())  # type: ignore[method-assign,func-returns-value]
    assert run(plain, dispatcher, 2) == [0, 2]
    assert plain.killed == [("a", True)]
    assert plain.time > 60


@pytest.mark.parametrize(
    ("for_s", "hangs"), [(LONG_S - 1, False), (LONG_S + 1, True), (30 * 25.0 - 1, True), (30 * 25.0 + 1, True)]
)
def test_a_call_that_computes_for_ever_is_told_by_what_others_took(plain: Plain, for_s: float, hangs: bool) -> None:
    plain.beats("a", "n0", call="evaluate x", for_s=for_s, longest={})
    pulses = Pulses(plain)
    assert not pulses.hangs("a")  # nobody knows how long such a call takes
    plain.beats("b", "n0", longest={"evaluate x": 2.0, "join": 9.0})
    assert not pulses.hangs("b")
    assert pulses.hangs("a") is hangs
    if hangs:  # one process kills it
        assert pulses.claim("a")
        assert pulses.hangs("a")
        assert not pulses.claim("a")
    plain.beats("b", "n0", longest={"evaluate x": 25.0})
    assert not pulses.hangs("b")
    assert pulses.hangs("a") is (for_s > 30 * 25.0)


def test_those_of_the_roster_come_and_go(plain: Plain) -> None:
    """Without any the work waits, for hours; the last one that left gets nothing more."""
    roster = Roster(plain)
    roster.write([])
    hours = [lambda: None] * 20 * 3600
    plain.on_sleep = [*hours, lambda: roster.write(["a", "b"])]
    dispatcher = Dispatcher({}, plain, roster=roster)
    assert run(plain, dispatcher) == [2 * n for n in range(8)]
    assert plain.time >= 3600
    assert {actor for actor, _, _ in plain.calls} == {"a", "b"}
    plain.calls, plain.time = [], plain.time + 10
    roster.write(["b", "c"])
    assert run(plain, dispatcher) == [2 * n for n in range(8)]
    assert {actor for actor, _, _ in plain.calls} == {"b", "c"}


def test_the_end_of_the_pool_ends_the_work(plain: Plain) -> None:
    Roster(plain).write([], ended="no space left on device")
    with pytest.raises(EvaluatorError, match="no evaluator can be restarted: no space left on device"):
        run(plain, Dispatcher({}, plain, roster=Roster(plain)))


def test_a_limit_of_time(plain: Plain) -> None:
    plain.silent = {1}
    with pytest.raises(EvaluatorError, match="scoring: 1 of 2 calls were not answered within 30 s"):
        run(plain, Dispatcher(names("a"), plain), 2, limit_s=30.0)
