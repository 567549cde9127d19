"""Random points: what every other sampler must beat."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

from pydantic import Field

from raprune.plugins.samplers.base import Axis, Sampler, Seen
from raprune.registry import SAMPLERS, Settings
from raprune.study.seeds import seed_for


class RandomSettings(Settings):
    seed: int = Field(default=0, ge=0)
    """Seed of the draws."""


@SAMPLERS.register("random", RandomSettings)
class Random(Sampler):
    """Draws every value at random, whatever was seen; needs no package."""

    def __init__(self, settings: RandomSettings) -> None:
        self.seed = settings.seed

    def suggest(self, axes: Sequence[Axis], seen: Sequence[Seen], number: int) -> dict[str, Any]:
        del seen
        return {axis.key: axis.value(self._draw(axis, number)) for axis in axes}

    def _draw(self, axis: Axis, number: int) -> float:
        draw = random.Random(seed_for(self.seed, "random sampler", axis.key, number))
        if axis.choices:
            return draw.randrange(len(axis.choices))
        if axis.log:
            return math.exp(draw.uniform(math.log(axis.low), math.log(axis.high)))
        return draw.uniform(axis.low - 0.5, axis.high + 0.5) if axis.whole else draw.uniform(axis.low, axis.high)
