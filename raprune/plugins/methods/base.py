"""What a method is given and returns when it decides one layer. It knows nothing of Ray, the data or the reward."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class LayerView:
    """The layer to decide.

    ``weights_NM``: its filters as rows, (N, M_l) with M_l = C_in * k_h * k_w; in a group, the members' side by side.
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
    """Percent on val; ``None`` where psi is below the reward's floor."""
    score_drop: float | None
    """Points below the baseline."""
    feasible: bool
    """Whether the drop is within the drop bound."""


class Evaluate(Protocol):
    """Scores keep masks: one :class:`Evaluation` per mask, in order."""

    def __call__(self, masks: Sequence[Tensor], *, policy_entropy: float | None = None) -> list[Evaluation]:
        """Each mask is bool (N,), at least one kept. ``policy_entropy`` (nats per filter) marks an update's masks."""


@dataclass(frozen=True)
class Decision:
    """The keep mask a method chose, and what it learned on the way."""

    keep_mask: Tensor
    agent_state: Mapping[str, Tensor] = field(default_factory=dict)
    """Tensors to store with the layer, such as those of an agent and its optimiser."""


@dataclass(frozen=True)
class Asked:
    """What a method asks for to decide one layer: updates of several masks at once, then masks one by one."""

    masks_per_update: int
    updates: tuple[int, int]
    """Fewest and most."""
    searched: tuple[int, int]
    """Fewest and most masks after the updates, each scored after the one before."""


class Method(ABC):
    """Decides one layer."""

    ranks: ClassVar[bool] = False
    """Whether it is a :class:`RankedMethod`, which can be matched to another trial's num_kept."""

    @property
    def masks_per_update(self) -> int:
        """Masks that it asks for at once; 1 if each mask depends on the score of the one before."""
        return 1

    @abstractmethod
    def decide(self, layer: LayerView, evaluate: Evaluate, rng: torch.Generator) -> Decision:
        """The keep mask for ``layer``; every draw comes from ``rng``."""

    @abstractmethod
    def expected_candidates(self, num_filters: int) -> int:
        """Roughly the most masks it will ask for; used for progress and estimates."""

    def asked(self, num_filters: int) -> Asked:
        """What it asks for in a layer; override it where the number of masks is a range."""
        number = self.expected_candidates(num_filters)
        return Asked(1, (0, 0), (number, number))


class RankedMethod(Method):
    """A method that ranks the filters once."""

    ranks = True

    @abstractmethod
    def rank(self, layer: LayerView, rng: torch.Generator) -> list[int]:
        """All filters, most important first."""
