"""Says so where trials wait for a core that nobody gives them; Tune itself waits without a word."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence

from raprune.evaluators.backend import Backend, LostError
from raprune.launch.placing import NODE
from raprune.launch.resources import MARKET, TRIAL_CPUS

STILL_S, LOOK_S = 60.0, 10.0
"""Seconds without a running trial after which it is asked why, and between two such questions."""


class Standstill:
    """Looks at what Tune says of a run's trials."""

    def __init__(self, backend: Backend, labels: Mapping[str, str], tell: Callable[[str], None]) -> None:
        """``labels``: of the machines on which the trials may run."""
        self._backend, self._labels, self._tell = backend, labels, tell
        self._since: float | None = None
        self._next = float("-inf")
        self._told = False

    def see(self, statuses: Sequence[str]) -> None:
        """``statuses``: of all trials, as Tune names them."""
        now = self._backend.now()
        if "RUNNING" in statuses or "PENDING" not in statuses:
            self._since, self._told = None, False
            return
        self._since = now if self._since is None else self._since
        if self._told or now - self._since < STILL_S or now < self._next:
            return
        self._next = now + LOOK_S
        with contextlib.suppress(LostError):
            if not self._one_fits():
                self._told = True
                self._tell(self._why())

    def _one_fits(self) -> bool:
        """Whether a machine has room for a trial, which then is about to begin."""
        free = self._backend.free()
        cores = [
            free.get(node.id, {}).get("CPU", 0.0)
            for node in self._backend.nodes()
            if node.id not in self._labels.get(NODE, "")
            and not (MARKET in self._labels and node.labels.get(MARKET) == "spot")
        ]
        return max(cores, default=0.0) >= TRIAL_CPUS

    def _why(self) -> str:
        needs = f"no trial has run for {STILL_S / 60:g} min: each takes {TRIAL_CPUS:g} of a core, and no machine"
        if MARKET in self._labels:
            return (
                f"{needs} that stays (no spot one) has that free; trials begin when one has. To let them run on spot "
                "machines, end the study and give the same command again"
            )
        return f"{needs} has that free; trials begin when one has (`ray status` shows what is in use)"
