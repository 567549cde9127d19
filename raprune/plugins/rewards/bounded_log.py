"""The paper's reward R = psi * phi.

Source: Huang, Zhou, You, Neumann, arXiv 1801.07365, equations 1 to 4: psi = (b - (p* - p_hat)) / b, negative once the
drop exceeds the bound b and not clipped above; phi = log(N / C) for C kept filters of N. Departure: ``floor`` clips
psi from below, so that scoring a hopeless candidate can stop early; ``preset: paper`` has none.
"""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, field_validator

from raprune.registry import REWARDS, Settings


class BoundedLogSettings(Settings):
    floor: float | Literal["none"] = Field(default=-1.0, json_schema_extra={"exclusiveMaximum": 0})
    """Smallest value of psi; -1 is reached at twice the drop bound. ``none``: psi is not clipped."""

    @field_validator("floor")
    @classmethod
    def _negative(cls, floor: float | str) -> float | str:
        if not isinstance(floor, str) and floor >= 0:
            raise ValueError("must be below 0, or none")
        return floor


@REWARDS.register("bounded_log", BoundedLogSettings)
class BoundedLog:
    """The paper's reward: accuracy term (0 at the drop bound) times log(filters / kept filters)."""

    def __init__(self, settings: BoundedLogSettings) -> None:
        self.floor = None if isinstance(settings.floor, str) else settings.floor

    def reward(self, score_drop: float | None, drop_bound: float, num_filters: int, num_kept: int) -> float:
        """psi * phi; 0 for keep-all, whatever the score. Raises ValueError for an empty mask or a missing score."""
        if num_kept < 1:
            raise ValueError("a mask that keeps nothing has no reward")
        if score_drop is None:
            if self.floor is None:
                raise ValueError("without a floor every candidate needs its score")
            psi = self.floor
        else:
            psi = (drop_bound - score_drop) / drop_bound
            psi = psi if self.floor is None else max(psi, self.floor)
        return psi * math.log(num_filters / num_kept)

    def largest_drop(self, drop_bound: float) -> float | None:
        """psi reaches the floor at (1 - floor) * b."""
        return None if self.floor is None else (1 - self.floor) * drop_bound
