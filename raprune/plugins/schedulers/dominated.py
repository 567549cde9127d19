"""Stops what others dominate, after every layer."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from raprune.plugins.schedulers.base import Scheduler, SchedulerSettings, Standing
from raprune.registry import SCHEDULERS


class DominatedSettings(SchedulerSettings):
    first: int = Field(default=2, ge=1)
    """Layers after which a trial is compared for the first time."""
    by: int = Field(default=2, ge=1)
    """Trials that must dominate it."""


@SCHEDULERS.register("dominated", DominatedSettings)
class Dominated(Scheduler):
    """Stops a trial after the layer at which some others have fewer multiply-adds and a smaller drop."""

    def __init__(self, settings: DominatedSettings) -> None:
        self.settings = settings

    def stops(self, num_layers: int, own: Standing, others: Sequence[Standing]) -> bool:
        return num_layers >= self.settings.first and sum(one.dominates(own) for one in others) >= self.settings.by
