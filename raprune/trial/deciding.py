"""Decides one layer: the method ranks its filters, the decision stage picks the keep mask."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from raprune.errors import RapruneError
from raprune.network.masks import KeepMask
from raprune.plugins.decisions.base import DecisionStage
from raprune.plugins.methods.base import CandidatesSpent, LayerView, Method, Ranking
from raprune.trial.budget import BudgetSpent
from raprune.trial.candidates import Candidates


def decide_layer(
    method: Method, decision: DecisionStage, view: LayerView, candidates: Candidates, rng: torch.Generator
) -> tuple[KeepMask, Ranking, bool]:
    """The layer's mask, its ranking (empty if the search ended before it), and whether the budget cut the search short.

    If it did, the mask is the best so far. Raises :class:`RapruneError` unless the ranking has each filter once, and
    :class:`ValueError` for no keep mask.
    """
    ranking = Ranking(())
    try:
        ranking = method.rank(view, candidates, rng)
        if not ranking.order:
            return KeepMask.whole(view.num_filters), ranking, False
        check_order(method, ranking.order, view)
        mask = decision.decide(ranking, candidates)
    except CandidatesSpent:
        return candidates.best_so_far(), ranking, False
    except BudgetSpent:
        return candidates.best_so_far(), ranking, True
    return KeepMask.of(mask, view.num_filters), ranking, False


def check_order(method: Method, order: Sequence[int], view: LayerView) -> None:
    """Raises :class:`RapruneError` unless ``order`` has every filter of the layer once."""
    if sorted(order) != list(range(view.num_filters)):
        name, last = type(method).__name__, view.num_filters - 1
        raise RapruneError(
            f"the method {name} must rank each filter of {view.layer}, 0 to {last}, once; got {list(order)}"
        )
