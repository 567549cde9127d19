"""The contract of a scheme: how one layer becomes two, and what the two hold at every rank.

Shapes: N filters (or features) of the layer, R components, largest first.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from raprune.network.lowrank.responses import Responses
from raprune.registry import SCHEMES, Settings

Layer = nn.Conv2d | nn.Linear


@dataclass(frozen=True)
class Decomposition:
    """A layer in components; the first r components are the layer at rank r."""

    energies_R: Tensor
    """Energy of each component, in double precision."""
    first_R: Tensor
    """(R, ...): the weight of the first layer, one filter per component."""
    second_NR: Tensor
    """(N, R, ...): the weight of the second layer."""
    bias_N: Tensor | None
    """The bias of the second layer."""
    means_NR: Tensor | None = None
    """What each component adds to the responses on average; moved to the bias when the component is dropped."""

    def tensors(self, rank: int) -> dict[str, Tensor]:
        """The state dict of the pair at ``rank``."""
        out = {"first.weight": self.first_R[:rank], "second.weight": self.second_NR[:, :rank]}
        bias_N = self.bias_N
        if bias_N is not None and self.means_NR is not None:
            bias_N = bias_N + self.means_NR[:, rank:].sum(1)
        return out if bias_N is None else out | {"second.bias": bias_N}


class Scheme(ABC):
    """One way to factorise a layer."""

    needs_responses: ClassVar[bool]
    """Whether it needs the layer's responses to training images."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @abstractmethod
    def problem(self, layer: Layer) -> str | None:
        """Why it cannot factorise a layer that :func:`raprune.network.lowrank.structure.problem` lets pass, if so."""

    @abstractmethod
    def full_rank(self, layer: Layer) -> int:
        """R."""

    @abstractmethod
    def pair(self, layer: Layer, rank: int, device: torch.device) -> nn.Sequential:
        """``first`` and ``second``, with weights still to be loaded."""

    @abstractmethod
    def decompose(self, layer: Layer, responses: Responses | None) -> Decomposition:
        """The layer's components; ``responses`` is given if the scheme needs them."""


def scheme_of(name: str) -> Scheme:
    """The scheme that a study names."""
    scheme: Scheme = SCHEMES.build(name, {})
    return scheme
