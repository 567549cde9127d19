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
        return {axis.key: self._draw(axis, number) for axis in axes}

    def _draw(self, axis: Axis, number: int) -> Any:
        draw = random.Random(seed_for(self.seed, "random sampler", axis.key, number))
        if axis.num_places is not None:
            return axis.at(draw.randrange(axis.num_places))
        if axis.log:
            return axis.value(math.exp(draw.uniform(math.log(axis.low), math.log(axis.high))))
        rim = 0.5 if axis.whole else 0.0  # the ends are as likely as the numbers between
        return axis.value(draw.uniform(axis.low - rim, axis.high + rim))
