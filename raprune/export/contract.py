"""The contract of a format: how a network is written to a file, and loaded again to be compared."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, fx

from raprune.artefact.plan import NetworkPlan
from raprune.engine.inputs import Inputs
from raprune.export.checking import Images
from raprune.export.running import Run
from raprune.registry import Settings


class Format(ABC):
    """A format that ``raprune export`` writes."""

    loaded_by: ClassVar[str]
    """The expression that loads the file, with ``{file!r}``, and ``{allowed}`` where code is imported."""
    quantises: ClassVar[bool] = False
    """Whether it is a :class:`QuantisedFormat`."""
    is_folder: ClassVar[bool] = False
    """Whether it is a folder, which is there when :meth:`write` is called, and not a file."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @abstractmethod
    def write(self, network: fx.GraphModule, example_BCHW: Tensor, plan: NetworkPlan, file: Path) -> str | None:
        """Write ``network`` for any number of images like those of the example, of which there are two or more.

        Returns a sentence if the network had to be rewritten. Raises
        :class:`raprune.export.refusals.Refused`.
        """

    def describe(self, file: Path, plan: NetworkPlan, row: Mapping[str, Any]) -> None:
        """Add what people read, of the network in ``file`` whose trial has ``row``; called once it has been checked."""
        del file, plan, row

    @abstractmethod
    def load(self, file: Path, threads: int, inputs: Inputs) -> Run:
        """The network in ``file``, images to logits, on ``threads`` processor threads.

        ``inputs`` say where a network's code is imported from, for a format that needs it.
        """


class QuantisedFormat(Format):
    """A format that can also hold 8-bit weights and activations."""

    quantises = True

    @abstractmethod
    def quantise(self, float_file: Path, images: Images, batch_size: int, plan: NetworkPlan, file: Path) -> int:
        """Write the network in ``float_file`` in 8 bits, calibrated on training images; returns their number.

        Raises :class:`raprune.export.refusals.Refused`.
        """
