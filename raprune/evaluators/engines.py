"""The engines of one process, each opened once."""

from __future__ import annotations

from pathlib import Path

from raprune.engine import Engine, engine_kind, open_engine
from raprune.engine.cache.prefix import LocalStore, Store
from raprune.engine.inputs import Inputs
from raprune.engine.launches import masks_a_launch
from raprune.engine.workload import Baseline, Workload
from raprune.evaluators.base import Evaluator, OnEngine
from raprune.evaluators.memo import Conditions, Keeping, Memo
from raprune.study.parts import EvaluatorsSpec


class Engines:
    """At most ``most`` engines by workload, kept for later trials; the oldest is dropped first.

    What they keep of the layers below the decided one is in one store, so that they have the room of one.
    """

    def __init__(
        self, inputs: Inputs, settings: EvaluatorsSpec, device: str, most: int = 1, store: Store | None = None
    ) -> None:
        self.inputs = inputs
        self.settings = settings
        self.device = device
        self.most = most
        self.store = store
        self._open: dict[str, Engine] = {}
        self._conditions: dict[str, Conditions] = {}
        self._memo: Memo | None = None

    def of(self, workload: Workload) -> Engine:
        """The engine of ``workload``, with its network and data loaded."""
        if workload.key not in self._open:
            if self.store is None and engine_kind(self.settings).reuses:
                self.store = LocalStore(int(self.settings.cache_gib * 2**30))
            while len(self._open) >= self.most:
                del self._open[next(iter(self._open))]
            self._open[workload.key] = open_engine(workload, self.device, self.settings, self.store, self.inputs)
        return self._open[workload.key]

    def evaluator(self, workload: Workload, name: str) -> Evaluator:
        """An evaluator on that engine, called ``name``; what it scores is on disk before it is returned."""
        scores = OnEngine(self.of(workload), name)
        conditions = self._conditions_of(workload)
        if conditions is None:
            return scores
        self._memo = self._memo or Memo(memo_folder(workload))
        return Keeping(scores, self._memo, conditions, masks_a_launch(workload, conditions.device_type))

    def _conditions_of(self, workload: Workload) -> Conditions | None:
        """``None`` where nothing is kept: for the reference engine, and without a baseline on disk."""
        if workload.key not in self._conditions:
            baseline = Baseline.read(Path(workload.folder))
            if baseline is None or not engine_kind(self.settings).reuses:
                return None
            self._conditions[workload.key] = Conditions.of(workload, baseline, self.device.partition(":")[0])
        return self._conditions[workload.key]

    def close(self) -> None:
        """Drop all engines, and what they keep."""
        self._open.clear()
        self.store = None


def memo_folder(workload: Workload) -> Path:
    """The memo of the study to which a workload's baseline belongs."""
    return Path(workload.folder).parents[1] / "memo"
