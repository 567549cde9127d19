"""Successive halving with rungs at growing numbers of layers.

Source: Li, Jamieson, Rostamizadeh, Gonina, Hardt, Recht, Talwalkar, A System for Massively Parallel Hyperparameter
Tuning (MLSys 2020), Algorithm 2. Departures: trials are ordered by what dominates them (fewer multiply-adds and a
smaller drop) instead of one number; a trial goes on unless 1/``eta`` of those on its rung or more dominate it, which
for one number is the top 1/``eta``; and it is compared with trials of earlier rounds only, so that what is stopped does
not depend on timing.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from raprune.plugins.schedulers.base import Scheduler, SchedulerSettings, Standing
from raprune.registry import SCHEDULERS


class AshaSettings(SchedulerSettings):
    first: int = Field(default=2, ge=1)
    """Layers after which a trial is compared for the first time."""
    eta: int = Field(default=3, ge=2)
    """Each rung has so many times the layers of the one before; of the trials on it, about one in ``eta`` goes on."""
    at_least: int = Field(default=3, ge=1)
    """Other trials that must have reached a rung before one is stopped there."""


@SCHEDULERS.register("asha", AshaSettings)
class Asha(Scheduler):
    """Successive halving: stops the trials that many others dominate after equally many layers."""

    def __init__(self, settings: AshaSettings) -> None:
        self.settings = settings

    def stops(self, num_layers: int, own: Standing, others: Sequence[Standing]) -> bool:
        if not self._is_rung(num_layers) or len(others) < self.settings.at_least:
            return False
        return sum(other.dominates(own) for other in others) >= (len(others) + 1) / self.settings.eta

    def _is_rung(self, num_layers: int) -> bool:
        rung = self.settings.first
        while rung < num_layers:
            rung *= self.settings.eta
        return rung == num_layers
