"""What a search tries, and what it looks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from raprune.registry import Settings
from raprune.study.choice import Choice
from raprune.study.wording import closest, shown

Goal = Literal[
    "pruning_ratio", "macs", "macs_left", "params", "params_left", "model_bytes", "latency_s", "latency_left",
    "val_score", "val_score_drop", "guard_score", "guard_score_drop", "score_drop_limit",
]  # fmt: skip
"""Columns of a trial's row; ``_left``: as a share of the baseline's."""
GOALS: tuple[str, ...] = get_args(Goal)
OF_GUARD = ("guard_score", "guard_score_drop", "score_drop_limit")
"""Those that only a study with guard images has."""
BASELINE_KEYS = ("model", "dataset", "score", "baseline", "scoring", "guard", "seed")
"""Keys on which the baseline depends, or in a sweep may depend."""
MAX_SEARCHED = 10_000


class Between(Settings):
    """Numbers from ``low`` to ``high``; whole numbers where both are."""

    low: float | int
    """The smallest."""
    high: float | int
    """The largest."""
    step: float | int | None = Field(default=None, gt=0)
    """Distance between neighbouring numbers, counted from low; by default any number."""
    log: bool = False
    """Whether they are spread evenly over their logarithms."""

    @model_validator(mode="after")
    def _in_order(self) -> Between:
        if self.low >= self.high:
            raise ValueError("must have low below high")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("must have low above 0 and no step where log is true")
        if self.step is not None and self.step > self.high - self.low:
            raise ValueError("must have a step that leads from low to another number within high")
        return self

    @property
    def whole(self) -> bool:
        """Whether only whole numbers will do."""
        return all(isinstance(number, int) for number in (self.low, self.high, self.step or 1))


class SearchSpec(Settings):
    """Tries keys of a trial, one suggestion after the other, instead of every combination of a sweep."""

    over: dict[str, list[Any] | Between] = Field(min_length=1)
    """Keys of a trial, each with a list of values, or a range of numbers: {low: 0.5, high: 4}."""
    sampler: Choice = Choice(name="optuna")
    """How the next suggestion is found."""
    trials: Annotated[int, Field(ge=1, le=MAX_SEARCHED)] = 20
    """Suggestions in all; a larger number goes on with a finished search."""
    at_once: int = Field(default=4, ge=1)
    """Trials of a round: they run at the same time, and the next round is suggested when all of them have ended."""
    maximise: Goal | None = None
    """The column of a trial's row that shall be large; pruning_ratio, where neither this nor minimise is given."""
    minimise: Goal | None = None
    """The column of a trial's row that shall be small."""
    at_most: dict[str, float] = Field(default_factory=dict)
    """Columns with the largest value that will do; a trial over it is worse than any that is not."""
    at_least: dict[str, float] = Field(default_factory=dict)
    """Columns with the smallest value that will do."""

    @field_validator("over", mode="before")
    @classmethod
    def _values(cls, over: Any) -> Any:
        for key, values in over.items() if isinstance(over, dict) else ():
            if not isinstance(values, dict) and not (isinstance(values, list) and values):
                rule = "must be a list of values, or a range with low and high; got {value}"
                raise PydanticCustomError("rule", rule, {"at": str(key), "value": shown(values)})
        return over

    @field_validator("at_most", "at_least")
    @classmethod
    def _known(cls, limits: dict[str, float]) -> dict[str, float]:
        for name in limits:
            if name.startswith("test_"):
                raise ValueError(f"{name} must not decide: test images measure nothing then; use val_ or guard_")
            if name not in GOALS:
                raise ValueError(f"must have columns among {', '.join(GOALS)}{closest(name, GOALS)}")
        return limits

    @model_validator(mode="after")
    def _one_goal(self) -> SearchSpec:
        if self.maximise and self.minimise:
            message = "must not stand beside maximise; keep one of the two"
            raise PydanticCustomError("rule", message, {"at": "minimise"})
        return self

    @property
    def goal(self) -> tuple[str, bool]:
        """The column, and whether it shall be large."""
        return (self.minimise, False) if self.minimise else (self.maximise or "pruning_ratio", True)

    def standing(self, row: Mapping[str, Any]) -> tuple[float, float] | None:
        """How good a trial's row is: what it misses of the limits, and its value, both better where smaller.

        What it misses is a sum of shares of the limits. ``None`` where the row lacks a number.
        """
        column, large = self.goal
        limits = [(name, limit, 1) for name, limit in self.at_most.items()]
        limits += [(name, limit, -1) for name, limit in self.at_least.items()]
        found = {name: number(row, name) for name in (column, *(name for name, *_ in limits))}
        if None in found.values():
            return None
        known = {name: value for name, value in found.items() if value is not None}
        missed = sum(max(0.0, sign * (known[name] - limit)) / max(abs(limit), 1e-9) for name, limit, sign in limits)
        return missed, -known[column] if large else known[column]


def number(row: Mapping[str, Any], column: str) -> float | None:
    """A column of a trial's row, ``macs_left`` and its like computed; ``None`` where the row lacks it."""
    name = column.removesuffix("_left")
    if name == column:
        return None if row.get(column) is None else float(row[column])
    name = {"latency": "latency_s"}.get(name, name)
    baseline, value = row.get(f"baseline_{name}"), row.get(name)
    return None if not baseline or value is None else float(value) / float(baseline)
