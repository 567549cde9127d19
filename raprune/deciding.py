"""What a method sees and gives back when it decides one layer. It knows neither Ray, nor the data, nor the reward."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class LayerView:
    """The layer to decide.

    ``weights_NM``: its filters as rows, (N, M_l) with M_l = C_in * k_h * k_w; the members of a group side by side.
    """

    layer: str
    weights_NM: Tensor

    @property
    def num_filters(self) -> int:
        """N."""
        return int(self.weights_NM.shape[0])


@dataclass(frozen=True)
class Evaluation:
    """What one keep mask is worth."""

    reward: float
    score: float | None
    """Percent on val; ``None`` where psi is under the reward's floor."""
    score_drop: float | None
    """Points below the baseline."""
    feasible: bool
    """Whether the drop is within the drop bound."""


class Evaluate(Protocol):
    """Scores keep masks: one :class:`Evaluation` a mask, in order."""

    def __call__(self, masks: Sequence[Tensor], *, policy_entropy: float | None = None) -> list[Evaluation]:
        """``masks``: bool, (N,), at least one kept. ``policy_entropy`` (nats a filter) marks the masks of an update."""


@dataclass(frozen=True)
class Decision:
    """The keep mask a method chose, and what it learned on the way."""

    keep_mask: Tensor
    agent_state: Mapping[str, Tensor] = field(default_factory=dict)
    """Tensors to keep beside the layer, such as an agent's and its optimiser's."""


class Method(Protocol):
    """Decides one layer. Methods with ``rank`` can also be matched to another trial's num_kept."""

    def decide(self, layer: LayerView, evaluate: Evaluate, rng: torch.Generator) -> Decision:
        """The keep mask for ``layer``; every draw comes from ``rng``."""

    def expected_candidates(self, num_filters: int) -> int:
        """About how many masks it will ask for, at most; for progress and estimates."""


class RankedMethod(Method, Protocol):
    """A method that is one ranking of the filters."""

    def rank(self, layer: LayerView, rng: torch.Generator) -> list[int]:
        """All filters, most important first."""
