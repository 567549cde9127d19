"""The contract of an engine: what a study, the scheduler and the memo may expect of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from raprune.engine.base import Engine
from raprune.engine.cache.prefix import Store
from raprune.engine.inputs import Inputs
from raprune.engine.workload import Workload
from raprune.registry import Settings
from raprune.study.parts import EvaluatorsSpec


class EngineKind(ABC):
    """A way to compute scores, which a study selects by name."""

    has_fidelities: ClassVar[bool]
    """Whether it can score at fidelities other than full."""
    gives_up: ClassVar[bool]
    """Whether it stops scoring a candidate once the remaining images cannot lift its score to the floor."""
    reuses: ClassVar[bool]
    """Whether known results may be reused: activations shared on the host, scores in the study's memo."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @abstractmethod
    def open(
        self, workload: Workload, device: str, spec: EvaluatorsSpec, store: Store | None, inputs: Inputs | None
    ) -> Engine:
        """Open an engine for ``workload`` on ``device``.

        ``store`` holds activations instead of this process's own memory; only an engine that ``reuses`` gets one.
        The network and data come from ``inputs``.
        """
