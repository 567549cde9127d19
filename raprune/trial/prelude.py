"""What a trial settles before its first layer: the order of deciding, and the allowance of each layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import cast

from torch import Tensor

from raprune.errors import ResultsError
from raprune.network.costs import Costs
from raprune.network.graph import Graph
from raprune.network.masks import KeepMask
from raprune.network.state import State
from raprune.plugins.allocations.base import Costed
from raprune.plugins.methods.base import LayerView
from raprune.plugins.orders.base import ScoreMask
from raprune.registry import ALLOCATIONS, ORDERS
from raprune.study.schema import TrialSpec
from raprune.trial.budget import BudgetSpent, TrialBudget
from raprune.trial.context import TrialContext
from raprune.trial.snapshots import Snapshots

View = Callable[[str], LayerView]
"""Layer -> the layer of the untouched baseline, as a method sees it."""


@dataclass(frozen=True)
class Schedule:
    """The layers in the order of deciding; for each the part of the bound that the layers up to it may use together."""

    order: list[str]
    allowed: list[float]
    """From 0 to 1, never falling; the last is 1."""


def schedule(
    trial: TrialSpec, layers: Sequence[str], view: View, costs: Costs, score: ScoreMask, baseline_score: float
) -> Schedule:
    """What the trial's order and allocation say. Both have masks of the baseline scored, each of them once.

    A plug-in that breaks its contract raises ``AssertionError``.
    """
    scores: dict[tuple[str, bytes], float] = {}

    def once(layer: str, mask: Tensor) -> float:
        key = layer, mask.numpy().tobytes()
        if key not in scores:
            scores[key] = score(layer, mask)
        return scores[key]

    views = {layer: view(layer) for layer in layers}
    order = ORDERS.build(trial.order.name, trial.order.settings).arrange(list(views.values()), once)
    if sorted(order) != sorted(layers):
        raise AssertionError(f"order {trial.order.name} is not a permutation of the layers")
    allocation = ALLOCATIONS.build(trial.allocation.name, trial.allocation.settings)
    costed = [_costed(views[layer], costs) for layer in order]
    shares = allocation.shares(costed, lambda layer, mask: baseline_score - once(layer, mask))
    name = f"allocation {trial.allocation.name}"
    if len(shares) != len(order) or not all(math.isfinite(x) and x >= 0 for x in shares):
        raise AssertionError(f"{name} must return a share of 0 or more for each layer; got {shares}")
    if shares[0] == 0:
        raise AssertionError(
            f"{name} must return a share above 0 for {order[0]}, the layer that is decided first; got 0"
        )
    sums = list(accumulate(shares))
    return Schedule(order, [so_far / sums[-1] for so_far in sums])


def _costed(view: LayerView, costs: Costs) -> Costed:
    whole = costs.macs({})
    return Costed(view, costs.own_macs(view.layer), lambda mask: whole - costs.macs({view.layer: mask}))


class Prelude:
    """Finds a trial's schedule once, and saves it."""

    def __init__(
        self, trial: TrialSpec, context: TrialContext, graph: Graph, budget: TrialBudget, snapshots: Snapshots
    ) -> None:
        self.trial = trial
        self.context = context
        self.graph = graph
        self.budget = budget
        self.snapshots = snapshots
        self._num_candidates = 0
        self._images: int | None = 0
        self._paid = 0
        """Masks that an earlier run has requested and paid for."""

    def run(self, layers: Sequence[str], view: View, costs: Callable[[], Costs]) -> Schedule:
        """The schedule of ``layers``, which come from low to high.

        A matched trial has its partner's order, and no allowance that matters. Raises :class:`BudgetSpent` where the
        budget does not last, and :class:`ResultsError` for a saved schedule of other layers.
        """
        if self.context.matched is not None:
            order = [row["layer"] for row in self.context.matched.layer_rows()]
            return Schedule(order, [1.0] * len(order))
        saved = self.snapshots.order()
        if saved is None:
            found = self._find(layers, view, costs())
        else:
            found = Schedule(saved, self.snapshots.allowed() or [1.0] * len(saved))
        if sorted(found.order) != sorted(layers) or len(found.allowed) != len(layers):
            raise ResultsError(
                f"{self.snapshots.folder / 'order.json'} has other layers than the trial decides; delete "
                f"{self.snapshots.folder.parent} to start it again"
            )
        return found

    def num_candidates(self) -> int | None:
        """Masks scored for the schedule: 0 for a matched trial, which uses its partner's order."""
        return 0 if self.context.matched is not None else self.snapshots.num_order_candidates()

    def num_images(self) -> int | None:
        """Images those masks have seen; ``None`` if an earlier version scored them."""
        return 0 if self.context.matched is not None else self.snapshots.order_images()

    def _find(self, layers: Sequence[str], view: View, costs: Costs) -> Schedule:
        self._num_candidates, self._paid = 0, self.snapshots.num_order_candidates() or 0
        self._images = self.snapshots.order_images()
        try:
            found = schedule(self.trial, layers, view, costs, self._score, self.context.baseline.val_score)
        except BudgetSpent:
            self.snapshots.save_order(None, self._num_candidates, self._images)
            raise
        self.snapshots.save_order(found.order, self._num_candidates, self._images, found.allowed)
        return found

    def _score(self, layer: str, mask: Tensor) -> float:
        if self._num_candidates >= self._paid:
            self.budget.require()
            self.budget.take(1)
        self._num_candidates += 1
        checked = KeepMask.of(mask, self.graph.group(layer).num_filters)
        baseline = State.baseline(self.context.baseline.key)
        result = self.context.evaluator.evaluate(baseline, layer, [checked], None)[0]
        self._images = None if self._images is None else self._images + result.scored.images_scored
        self.context.progress(
            {
                "layer": layer,
                "new_candidates": 1,
                "new_scored": int(not result.from_memo),
                "new_images": result.scored.images_scored,
                "new_score_s": result.scored.seconds,
                "val_images": self.context.baseline.num_val_images,
            }
        )
        return cast(float, result.scored.score)
