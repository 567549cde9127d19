"""Every error a user can meet. Each message says what is wrong, where, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class RapruneError(Exception):
    """Root of all errors that raprune raises on purpose; the message is meant for the user."""


class InputError(RapruneError):
    """What the user gave cannot be used: the study, its data, its checkpoint. Exit code 2."""


class MissingDataError(InputError):
    """Data that are not there and could not be fetched."""


class EvaluatorError(RapruneError):
    """Candidates could not be scored; the trial that asked for them fails."""


class ResultsError(RapruneError):
    """A results folder is in use, incomplete or of an unknown version."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a study: where it stands, the rule it breaks, the value found."""

    where: str
    """``file:line`` or ``--set``."""
    path: str
    """YAML path, such as ``sweep.drop_bound[0]``; empty for the whole file."""
    message: str
    """Rule, value and, where there is one, the nearest valid choice."""

    def __str__(self) -> str:
        return ": ".join(part for part in (self.where, self.path, self.message) if part)


class StudyError(InputError):
    """A study that cannot be run; carries every problem found, not just the first."""

    def __init__(self, problems: Sequence[Problem], ways_on: Sequence[str] = ()) -> None:
        self.problems = list(dict.fromkeys(problems))
        self.ways_on = list(dict.fromkeys(ways_on))
        """Commands that would get on, where data are missing."""
        lines = [str(problem) for problem in self.problems]
        if self.ways_on:
            lines += ["", "any of these gets on:", *(f"  {command}" for command in self.ways_on)]
        super().__init__("\n".join(lines))
