"""A made-up layer for the conformance tests of methods and decision stages."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from raprune.plugins.methods.base import CandidatesSpent, Evaluation, LayerView
from raprune.plugins.methods.probe import Contributions, WeightsProbe

NUM_FILTERS, BOUND = 12, 2.0


class MadeUp(WeightsProbe):
    """A network that answers with numbers of the right shapes."""

    def draw(self, *shape: int) -> Tensor:
        return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def norm_scales(self) -> Tensor:
        return self.draw(self.num_filters).abs()

    def responses(self, summary: Callable[[Tensor], Tensor], num_images: int) -> list[Tensor]:
        return [summary(self.draw(num_images, self.num_filters, 2, 2).relu())]

    def gate_gradients(self, num_images: int) -> Tensor:
        return self.draw(num_images, self.num_filters)

    def weight_gradients(self, num_images: int) -> Tensor:
        return self.draw(*self.weights_NM.shape)

    def squared_weight_gradients(self, num_images: int) -> Tensor:
        return self.weight_gradients(num_images) ** 2

    def ablations(self, num_images: int) -> Tensor:
        return self.draw(self.num_filters).abs()

    def contributions(self, num_images: int, samples_per_image: int) -> Contributions:
        values_SN = self.draw(num_images * samples_per_image, self.num_filters)
        return Contributions(values_SN, self.draw(self.num_filters).abs())


def view(num_filters: int = NUM_FILTERS) -> LayerView:
    weights_NM = torch.randn(num_filters, 27, generator=torch.Generator().manual_seed(0))
    return LayerView("features.0", weights_NM, lambda criterion: criterion.importance(MadeUp("features.0", weights_NM)))


class Evaluator:
    """Pruning filter i costs ``prices[i]`` points; a mask is feasible within the bound."""

    def __init__(self, prices: Tensor, most: int | None = None) -> None:
        self.prices, self.most = prices, most
        self.drop_bound = BOUND
        self.masks: list[Tensor] = []
        self.sizes: list[int] = []
        """Masks of each call."""

    @property
    def whole(self) -> Evaluation:
        return self.evaluation(torch.ones(len(self.prices), dtype=torch.bool))

    @property
    def left(self) -> int | None:
        return None if self.most is None else self.most - len(self.masks)

    @property
    def seen(self) -> Sequence[tuple[Tensor, Evaluation]]:
        return [(mask, self.evaluation(mask)) for mask in self.masks]

    def __call__(self, masks: Sequence[Tensor], *, policy_entropy: float | None = None) -> list[Evaluation]:
        for mask in masks:
            assert mask.dtype == torch.bool
            assert mask.shape == self.prices.shape
            assert mask.any()
        if self.left is not None and len(masks) > self.left:
            raise CandidatesSpent
        self.sizes.append(len(masks))
        self.masks += [mask.clone() for mask in masks]
        return [self.evaluation(mask) for mask in masks]

    def evaluation(self, mask: Tensor) -> Evaluation:
        drop = float(self.prices[~mask].sum())
        reward = max(-1.0, 1 - drop / BOUND) * float(torch.log(len(mask) / mask.sum()))
        return Evaluation(reward, 90.0 - drop, drop, drop <= BOUND)
