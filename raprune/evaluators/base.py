"""The contract of an evaluator: where all training and scoring runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from raprune.engine.launches import Purpose
from raprune.network.lowrank.factor import Factor
from raprune.network.state import State
from raprune.plugins.scores.base import Scored, Tally


@dataclass(frozen=True)
class EvaluatedMask:
    """What scoring one mask gave, and who did it."""

    scored: Scored
    evaluator: str
    from_memo: bool = False
    """Nothing was scored now: all that is asked was known."""


@dataclass(frozen=True)
class PoolAddress:
    """Where a pool of evaluators is found: plain strings, so that it travels anywhere."""

    namespace: str
    names: tuple[str, ...]


class Evaluator(Protocol):
    """Results are pure functions of the arguments, never of who computes them or when."""

    def evaluate(
        self,
        state: State,
        layer: str,
        masks: Sequence[Tensor],
        lowest: float | None,
        starts: Sequence[Tally | None] | None = None,
    ) -> list[EvaluatedMask]:
        """Score ``state`` with ``layer`` cut to each mask, in order. Raises :class:`EvaluatorError`.

        ``starts`` says how far each mask was scored before; none of them may decide ``lowest`` already.
        """

    def candidate(self, state: State, layer: str, mask: Tensor) -> State:
        """``state`` with ``layer`` cut to ``mask``, fine-tuned before the reward or recalibrated as candidates are."""

    def finetune(self, state: State, purpose: Purpose, seeded_by: str) -> State:
        """``state`` after the study's fine-tune for ``purpose``; ``seeded_by`` is the version of a state."""

    def energies(self, state: State, layer: str, scheme: str, num_images: int) -> list[float]:
        """What each component of ``layer`` holds under a low-rank scheme, largest first.

        ``num_images``: training images for a scheme that looks at responses.
        """

    def factorise(self, state: State, layer: str, factor: Factor, num_images: int) -> State:
        """``state`` with ``factor`` in the place of ``layer``, of which :meth:`energies` told the components."""

    def measure(self, state: State, split: str) -> float:
        """The score of ``state`` on a whole split, percent; alone in opening ``test``."""

    def pictures(self, state: State) -> list[dict[str, Any]]:
        """Rows of ``pictures``: what ``state`` gives for a few val images; none without labels a pixel."""

    def describe(self) -> list[dict[str, object]]:
        """One entry an evaluator: its name, device, baseline and the bytes it holds."""
