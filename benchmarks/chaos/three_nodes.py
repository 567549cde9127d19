"""A study on machines that come and go: starts on one, two join, one is lost, half of the evaluators die three times.

python -m benchmarks.chaos.three_nodes        # as root: each machine is a network namespace
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.chaos.counted import LOG, LONGER, Log
from benchmarks.chaos.nodes import Machines, machines, obstacle
from benchmarks.chaos.storm import study
from benchmarks.chaos.victims import ROOT, command_of
from raprune.results import read_study
from tests.launch.runs import assert_same_rows, run_tiny

JOINS, LOSS, REPLACEMENTS = (0.05, 0.15), 0.4, (0.3, 0.55, 0.75)
"""Shares of the candidates at which the machines join, one is lost, and half of the evaluators die."""
CANDIDATE_S = 0.5
STEP_S = 600.0
RANGE = "evaluators={min: 1, max: 8}"


@dataclass
class Course:
    """What happened."""

    log: Log
    joined: dict[str, float] = field(default_factory=dict)
    """Machine -> when its Ray had started (seconds since the epoch)."""
    killed: int = 0
    """Evaluators."""
    exit_code: int = -1
    text: str = ""
    """What the study printed."""

    def waited(self) -> dict[str, float]:
        """Machine -> seconds from joining to its first score."""
        return {name: self.log.first[name] - at for name, at in self.joined.items() if name in self.log.first}


def run(folder: Path, text: str, total: int) -> Course:
    """The study in ``folder``/out; ``total``: candidates that it scores."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "chaos.yaml").write_text(text)
    log, printed = folder / "scored.log", folder / "study.out"
    course = Course(Log(log))
    counted = {LOG: str(log), LONGER: str(CANDIDATE_S)}
    with machines(folder, PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1", **counted) as cluster:
        cluster.join(num_cpus=1)
        command = command_of(folder / "chaos.yaml", folder / "out", "--address", cluster.address, "--set", RANGE)
        process = cluster.head.start(command, printed)
        steps: list[tuple[float, Callable[[], None]]] = [
            *((share, lambda: _join(cluster, course)) for share in JOINS),
            *((share, lambda: _kill_half(cluster, course)) for share in REPLACEMENTS),
            (LOSS, lambda: cluster.machines[-1].lose()),
        ]
        for share, step in sorted(steps, key=lambda found: found[0]):
            if _wait(course, share * total, process):
                step()
                print(f"    {time.strftime('%H:%M:%S')} {share:.0%}", file=sys.stderr, flush=True)
        with contextlib.suppress(subprocess.TimeoutExpired):
            course.exit_code = process.wait(STEP_S)
    course.text = printed.read_text(errors="replace")
    course.log.look()
    return course


def _wait(course: Course, number: float, process: subprocess.Popen[bytes]) -> bool:
    """Wait until so many candidates are scored, some of them by each machine; returns whether the study still runs."""
    end = time.monotonic() + STEP_S
    while process.poll() is None and time.monotonic() < end:
        if course.log.look().distinct >= number and set(course.joined) <= set(course.log.first):
            break
        time.sleep(0.05)
    return process.poll() is None and time.monotonic() < end


def _join(cluster: Machines, course: Course) -> None:
    machine = cluster.join(num_cpus=1)
    course.joined[machine.name] = time.time()


def _kill_half(cluster: Machines, course: Course) -> None:
    found = [process for machine in cluster.machines for process in machine.processes("EvaluatorProcess")]
    for process in found[: (len(found) + 1) // 2]:
        process.kill()
        course.killed += 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, default=200, help="of a trial's layer")
    parser.add_argument("--out", type=Path, help="keep the studies in this folder")
    given = parser.parse_args()
    if (why := obstacle()) is not None:
        print(f"skipped: {why}")
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = given.out or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        text = study(1, given.candidates)
        os.environ[LOG] = str(folder / "undisturbed.log")
        outcome, reference = run_tiny(folder / "undisturbed", 0, text=text)
        if outcome.exit_code:
            raise SystemExit(f"the undisturbed run did not complete: {outcome.summary()}")
        total = Log(folder / "undisturbed.log").look().distinct
        began = time.monotonic()
        course = run(folder / "disturbed", text, total)
        print(course.text)
        for machine, seconds in course.waited().items():
            print(f"{machine}: first candidate {seconds:.1f} s after it joined")
        log = course.log
        print(
            f"{course.killed} evaluators killed, 1 machine lost, {time.monotonic() - began:.0f} s; {log.distinct} "
            f"candidates scored; scored twice: {log.twice}; begun in vain: {log.lost}; both together {log.share:.2%}"
        )
        assert_same_rows(reference, folder / "disturbed" / "out")
        print(f"all tables equal: {len(read_study(reference).candidates)} candidates")
    return course.exit_code


if __name__ == "__main__":
    sys.exit(main())
