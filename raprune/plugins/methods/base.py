"""What a method is given and returns when it ranks the filters of one layer.

A method ranks; a decision stage (:mod:`raprune.plugins.decisions.base`) then decides how many filters go, and which.
Neither knows Ray, the data or the reward.

Legend: N filters, M_l weights per filter.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from raprune.plugins.methods.probe import Probe, WeightsProbe


class ComputeImportance(Protocol):
    """Computes the importance of a layer's filters where the network is."""

    def __call__(self, criterion: Criterion) -> Tensor:
        """(N,) float64, larger is more important."""


@dataclass(frozen=True)
class LayerView:
    """The layer to decide.

    ``weights_NM``: its filters as rows, (N, M_l) with M_l = C_in * k_h * k_w; in a group, the members' side by side.
    """

    layer: str
    weights_NM: Tensor
    compute: ComputeImportance | None = field(default=None, repr=False, compare=False)
    """Computes a criterion on the network; without it, only criteria of the weights can be computed."""

    @property
    def num_filters(self) -> int:
        """N."""
        return int(self.weights_NM.shape[0])

    def importance(self, criterion: Criterion) -> Tensor:
        """(N,) float64: the importance of each filter to ``criterion``; larger is more important."""
        if self.compute is not None:
            return self.compute(criterion)
        return criterion.importance(WeightsProbe(self.layer, self.weights_NM))


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

    @property
    def drop_bound(self) -> float:
        """Points that the network may lose, over all its layers, with this layer pruned."""

    @property
    def whole(self) -> Evaluation:
        """The network before this layer is pruned; not a candidate."""

    @property
    def left(self) -> int | None:
        """Candidates that this layer may still ask for; ``None`` without a limit."""

    @property
    def seen(self) -> Sequence[tuple[Tensor, Evaluation]]:
        """All masks scored in this layer so far, in order."""

    def __call__(self, masks: Sequence[Tensor], *, policy_entropy: float | None = None) -> list[Evaluation]:
        """Each mask is bool (N,), at least one kept. ``policy_entropy`` (nats per filter) marks an update's masks.

        Raises :class:`CandidatesSpent` where fewer than ``len(masks)`` candidates are left.
        """


class CandidatesSpent(Exception):
    """The layer's candidates are spent. Not an error: the best mask so far is taken."""


@dataclass(frozen=True)
class Ranking:
    """What a method found out about the filters of a layer."""

    order: Sequence[int]
    """All filters, most important first; empty if none is to be pruned."""
    likely: Tensor | None = None
    """(N,) bool: the keep mask that a learner holds likeliest."""
    keep_probs: Tensor | None = field(default=None, kw_only=True)
    """(N,): the probability with which a learner would keep each filter; recorded, and used for nothing."""
    agent_state: Mapping[str, Tensor] = field(default_factory=dict)
    """Tensors to store with the layer, such as those of an agent and its optimiser."""


@dataclass(frozen=True)
class Asked:
    """What a method and its decision stage ask for in one layer: updates of several masks, then masks of a search."""

    masks_per_update: int
    updates: tuple[int, int]
    """Fewest and most."""
    searched: tuple[int, int] = (0, 0)
    """Fewest and most masks after the updates."""


NOTHING_LEARNED = Asked(1, (0, 0))


@dataclass(frozen=True)
class LeastSquares:
    """On what the layers that read a cut layer are refitted, before it is committed."""

    num_images: int
    samples_per_image: int


class Method(ABC):
    """Ranks the filters of one layer."""

    refit: LeastSquares | None = None
    """Refits the layers that read a cut layer before its committed fine-tune; ``None`` leaves them as they are."""

    ranks: ClassVar[bool] = False
    """Whether it is a :class:`RankedMethod`, which can be matched to another trial's num_kept."""
    decision: ClassVar[str] = "search"
    """The decision stage of a trial that names none."""
    criterion: ClassVar[bool] = False
    """Whether it is a :class:`Criterion`, whose ranking a learner can start from."""
    needs_norm: ClassVar[bool] = False
    """Whether it can rank only filters that a norm scales."""
    prunes: ClassVar[bool] = True
    """Whether it ranks any filter for pruning."""

    @abstractmethod
    def rank(self, layer: LayerView, evaluate: Evaluate, rng: torch.Generator) -> Ranking:
        """The ranking of the filters of ``layer``; every draw comes from ``rng``."""

    def asked(self, num_filters: int, candidates: int | None) -> Asked:
        """The masks that it asks for in a layer of which it may ask for ``candidates``; none unless it learns."""
        del num_filters, candidates
        return NOTHING_LEARNED


class RankedMethod(Method):
    """A method that ranks the filters without scoring a mask."""

    ranks = True

    @abstractmethod
    def order(self, layer: LayerView, rng: torch.Generator) -> list[int]:
        """All filters, most important first."""

    def rank(self, layer: LayerView, evaluate: Evaluate, rng: torch.Generator) -> Ranking:
        del evaluate
        return Ranking(self.order(layer, rng))


class Criterion(RankedMethod):
    """A method that ranks the filters by a number computed for each; picklable, as it is sent to the network."""

    criterion = True

    @abstractmethod
    def importance(self, probe: Probe) -> Tensor:
        """(N,) float64: the importance of each filter, larger is more important; must be finite."""

    def order(self, layer: LayerView, rng: torch.Generator) -> list[int]:
        """Most important first; the first in the layer among equally important ones."""
        del rng
        return [int(i) for i in layer.importance(self).argsort(descending=True, stable=True)]
