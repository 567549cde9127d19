"""What happens to a study, and when: drawn from a seed."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

KILL, SUSPEND = "SIGKILL", "SIGSTOP"
ENDS_THE_RUN = ("driver", "raylet", "GCS")
"""Processes without which a study on this machine's own Ray does not go on; the same command is given again."""
SHORT = {"driver": 1, "trial": 1, "evaluator": 1, "raylet": 1}
KILLS = {"driver": 4, "trial": 5, "evaluator": 7, "raylet": 2, "GCS": 2}
SUSPENSIONS = {"driver": 1, "trial": 1, "evaluator": 2, "raylet": 1, "GCS": 1}
FIRST, LAST = 0.02, 0.9
"""When blows fall, as shares of the study's candidates."""


@dataclass(frozen=True)
class Blow:
    """One thing that happens."""

    at: float
    """Share of the study's candidates that have been scored by then."""
    signal: str
    process: str
    number: int
    """Which of several processes; any integer."""
    evaluators: int
    """Evaluators of the next run, where this one ends it."""
    deletes_memo: bool
    """Whether the memo is deleted as well."""

    @property
    def ends_the_run(self) -> bool:
        return self.process in ENDS_THE_RUN and (self.signal, self.process) != (SUSPEND, "driver")

    def __str__(self) -> str:
        memo = ", memo deleted" if self.deletes_memo else ""
        again = f", again with {self.evaluators} evaluator(s)" if self.ends_the_run else ""
        return f"{self.at:6.1%}  {self.signal} {self.process}{memo}{again}"


def schedule(
    seed: int,
    kills: Mapping[str, int] = KILLS,
    suspensions: Mapping[str, int] = SUSPENSIONS,
    deletions: int = 2,
    evaluators: Sequence[int] = (1, 2),
) -> list[Blow]:
    """The blows of a seed, in the order in which they fall."""
    draw = random.Random(seed)
    kinds = [
        (signal, process)
        for signal, numbers in ((KILL, kills), (SUSPEND, suspensions))
        for process, number in numbers.items()
        for _ in range(number)
    ]
    draw.shuffle(kinds)
    times = sorted(draw.uniform(FIRST, LAST) for _ in kinds)
    deleting = set(draw.sample(range(len(kinds)), deletions))
    return [
        Blow(at, signal, process, draw.randrange(100), draw.choice(evaluators), index in deleting)
        for index, (at, (signal, process)) in enumerate(zip(times, kinds, strict=True))
    ]
