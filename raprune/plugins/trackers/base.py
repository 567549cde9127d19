"""The contract of a tracker: it shows a study's progress in another program, and never changes or stops the study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class TrackedStudy:
    """What a tracker knows of a study."""

    name: str
    description: str
    out: Path
    """Its results folder on this machine, absolute."""
    place: str
    """The folder as a person knows it, or its address on a store: the same study in another place is another one."""
    key: str
    """Hash of name and place."""
    text: str
    """The study as run, as YAML."""


@dataclass(frozen=True)
class TrackedTrial:
    """What a tracker knows of a trial from its start."""

    trial_id: str
    name: str
    """Its values on the axes, in a few words."""
    params: Mapping[str, str]
    """What was asked for."""


class Tracker(Protocol):
    """Shows one study elsewhere. It is made and called in one thread, in the order in which things happened.

    What a call raises is told once; later calls come all the same. What ``begin`` or ``trial`` raised is tried again
    before the next call that needs it. A run that resumes a study continues what an earlier
    one began, found by :attr:`TrackedStudy.key` and the trials' ids.
    """

    def begin(self) -> None:
        """The study runs."""

    def trial(self, trial: TrackedTrial) -> None:
        """A trial begins, or goes on."""

    def layer(self, trial_id: str, step: int, metrics: Mapping[str, float]) -> None:
        """A trial committed its ``step``-th layer or joint pass, from 1; the metrics are of its network so far."""

    def ended(self, trial_id: str, status: str, metrics: Mapping[str, float]) -> None:
        """A trial ended: completed, failed or stopped; the metrics are the numbers of its row."""

    def close(self, status: str) -> None:
        """The study ended: completed, failed or stopped. Raises nothing for what was never begun."""
