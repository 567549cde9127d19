"""The engines of one process, each opened once."""

from __future__ import annotations

from raprune.engine import Engine, open_engine
from raprune.engine.cache.prefix import Store
from raprune.engine.inputs import Inputs
from raprune.engine.workload import Workload
from raprune.study.parts import EvaluatorsSpec


class Engines:
    """At most ``most`` engines by workload, kept for later trials; the oldest is dropped first."""

    def __init__(
        self, inputs: Inputs, settings: EvaluatorsSpec, device: str, most: int = 1, store: Store | None = None
    ) -> None:
        self.inputs = inputs
        self.settings = settings
        self.device = device
        self.most = most
        self.store = store
        self._open: dict[str, Engine] = {}

    def of(self, workload: Workload) -> Engine:
        """The engine of ``workload``, with its network and data loaded."""
        if workload.key not in self._open:
            while len(self._open) >= self.most:
                del self._open[next(iter(self._open))]
            self._open[workload.key] = open_engine(workload, self.device, self.settings, self.store, self.inputs)
        return self._open[workload.key]

    def close(self) -> None:
        """Drop all engines."""
        self._open.clear()
