"""Processes of a real study are killed by a seeded schedule; its tables are those of an undisturbed run."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from benchmarks.chaos import three_nodes
from benchmarks.chaos.counted import DELETED, LOG, Log, note
from benchmarks.chaos.nodes import obstacle
from benchmarks.chaos.schedule import KILL, KILLS, SHORT, SUSPEND, SUSPENSIONS, schedule
from benchmarks.chaos.storm import Disturbed, study
from tests.launch.runs import assert_same_rows, run_tiny

NUM_CANDIDATES = 100
"""Of a trial's layer."""


def test_a_schedule_is_its_seed() -> None:
    blows = schedule(0)
    assert blows == schedule(0)
    assert blows != schedule(1)
    assert sum(KILLS.values()) == 20
    expected = Counter({(KILL, name): n for name, n in KILLS.items()})
    expected += Counter({(SUSPEND, name): n for name, n in SUSPENSIONS.items()})
    assert Counter((blow.signal, blow.process) for blow in blows) == expected
    assert [blow.at for blow in blows] == sorted(blow.at for blow in blows)
    assert sum(blow.deletes_memo for blow in blows) == 2
    assert {blow.evaluators for blow in blows} == {1, 2}


def test_what_is_scored_twice_is_counted(tmp_path: Path) -> None:
    file = tmp_path / "log"
    log = Log(file)
    for line in (
        "began a 0", "scored a 0 50 host 1.5",
        "began a 50", "scored a 50 100 host 2.5",  # gone on with
        "began b 0", "began b 0", "scored b 0 100 host 3.5",  # lost once
    ):  # fmt: skip
        note(file, line)
    assert (log.look().distinct, log.twice, log.lost) == (2, 0, 1)
    for line in ("began a 0", "scored a 0 100 host 4.5", DELETED, "began b 0", "scored b 0 100 other 5.5"):
        note(file, line)
    assert (log.look().distinct, log.twice, log.lost, log.after_deletion) == (2, 1, 1, 1)
    for line in ("began b 0", "scored b 0 100 other 6.5"):
        note(file, line)
    assert (log.look().twice, log.after_deletion, log.share) == (2, 1, 1.5)
    assert log.first == {"host": 1.5, "other": 5.5}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """The study in this process, and how many candidates it scores."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(LOG, str(folder / "scored.log"))
        outcome, out = run_tiny(folder, 0, text=study(1, NUM_CANDIDATES))
    assert outcome.exit_code == 0
    return out, Log(folder / "scored.log").look().distinct


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_short_schedule(undisturbed: tuple[Path, int], tmp_path: Path) -> None:
    reference, total = undisturbed
    assert total > 500
    disturbed = Disturbed(tmp_path, study(1, NUM_CANDIDATES), schedule(1, SHORT, {}, 1), total)
    storm = disturbed.run()
    assert len(storm.struck) == 4
    assert not storm.unclear
    assert storm.log.distinct == total
    assert storm.log.share <= 0.01
    assert_same_rows(reference, disturbed.out)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(obstacle() is not None, reason=str(obstacle()))
def test_machines_join_and_are_lost(undisturbed: tuple[Path, int], tmp_path: Path) -> None:
    reference, total = undisturbed
    course = three_nodes.run(tmp_path, study(1, NUM_CANDIDATES), total)
    assert course.exit_code == 0, course.text
    assert set(course.waited()) == set(course.joined) == {"node2", "node3"}
    assert max(course.waited().values()) < 30
    assert course.killed >= 3
    assert course.log.distinct == total
    assert_same_rows(reference, tmp_path / "out")
