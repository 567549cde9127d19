"""The joint pass of a trial: once every layer is decided, spends what is left of the bound on all of them together.

Each layer's filters that are left are ranked anew by the trial's method; :mod:`raprune.trial.joint_search` decides how
many of each go. A filter that was pruned before stays pruned: the network has no weights for it after a fine-tune, so
only filters that the same pass took away are given back. The result is committed under the contract of
``within_bound.py``, like a layer: ``ALL_LAYERS`` stands for the layer, and a keep mask has one entry for each filter
that the network had left before the pass.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from raprune.errors import ResultsError
from raprune.network.costs import Costs
from raprune.network.graph import Graph
from raprune.network.masks import KeepMask, keep_first
from raprune.network.sizes import Sizes
from raprune.network.state import ALL_LAYERS, State
from raprune.plugins.methods.base import CandidatesSpent, LayerView, Method, RankedMethod
from raprune.registry import METHODS
from raprune.results import PROVISIONAL
from raprune.study.postprocess import JointSpec
from raprune.study.schema import TrialSpec
from raprune.study.seeds import seed_for
from raprune.trial.asked import most_in_a_pass
from raprune.trial.budget import BudgetSpent, TrialBudget
from raprune.trial.candidates import Candidates
from raprune.trial.clock import seconds_since, seconds_so_far
from raprune.trial.committed import Committed, left_whole
from raprune.trial.context import TrialContext
from raprune.trial.credit import credit_of
from raprune.trial.guard import num_refused
from raprune.trial.joint_search import Counts, JointSearch
from raprune.trial.rows import joint_row
from raprune.trial.snapshots import Snapshots
from raprune.trial.within_bound import Contract, commit_as_given, commit_within_bound

View = Callable[[State, str], LayerView]


class JointPass:
    """The joint passes of one trial; resumes after the last one that is on disk."""

    def __init__(
        self, trial: TrialSpec, contract: Contract, sizes: Sizes, context: TrialContext, snapshots: Snapshots,
        budget: TrialBudget, view: View,
    ) -> None:  # fmt: skip
        """``view``: a layer of a state as a method sees it, with the filters that are left of it."""
        spec = trial.postprocess.joint
        assert spec is not None
        self.spec: JointSpec = spec
        self.trial = trial
        self.contract = contract
        self.sizes = sizes
        self.context = context
        self.store = context.store
        self.snapshots = snapshots
        self.budget = budget
        self.view = view
        self.graph = contract.graph
        self.layers = self.graph.arrange(trial.layers_among(self.graph.groups))
        self.num_diverged = 0
        """Fine-tunes of this run that left NaN or infinite weights; none of them was kept."""

    def run(self, method: Method, state: State, val_score: float) -> tuple[State, float, bool]:
        """Run what is left of the passes; returns the state, its score, and whether the budget lasted.

        ``state`` and ``val_score`` are those after the last pass on disk.
        """
        while not self.has_ended(method):
            if self.budget.is_empty:
                return state, val_score, False
            state, val_score, cut_short = self._pass(self.store.num_joint(), method, state, val_score)
            if cut_short:
                return state, val_score, False
        return state, val_score, True

    def has_ended(self, method: Method) -> bool:
        """Whether all passes are on disk."""
        rows = self.store.joint_rows()
        return not method.prunes or len(rows) >= self._num_passes() or bool(rows and self._was_the_last(rows[-1]))

    def credit(self) -> float:
        """Points lent to the candidates of the next pass."""
        rows = [*self.store.layer_rows(), *self.store.joint_rows()]
        return credit_of(self.trial, self.contract.scale.drop_bound, rows)

    def _was_the_last(self, row: Mapping[str, Any]) -> bool:
        """Whether the pass of ``row`` pruned nothing, and the next is lent as much, so it would not either.

        Never in a matched trial, which has all passes of its partner: there the next one may have had less credit.
        """
        if self.context.matched is not None:
            return False
        return row["num_kept"] == row["num_kept_before"] and self.credit() >= (row["credit"] or 0.0)

    def _num_passes(self) -> int:
        return self.spec.passes if self.context.matched is None else self.context.matched.num_joint()

    def _pass(self, number: int, method: Method, state: State, val_score: float) -> tuple[State, float, bool]:
        start, cut_short, step = time.perf_counter(), False, self.store.num_committed() + number
        before, refused_before = seconds_so_far(self.contract.evaluator), num_refused(self.contract.guard)
        masks = _Masks(self.graph, state, self._orders(number, method, state))
        candidates = _JointCandidates(self, masks, state, number)
        if self.context.matched is not None:
            committed = self._match(number, masks, state, val_score)
        else:
            decided, cut_short = self._decide(masks, candidates, val_score)
            committed = commit_within_bound(
                self.contract, candidates, decided, val_score, self._round_up(state), masks.order_of(decided)
            )
        self.num_diverged += committed.num_diverged
        is_matched = self.context.matched is not None
        row = joint_row(number, self.graph, state, committed, self.sizes.of(committed.state))
        row |= {
            "drop_allowance": None if is_matched else self.contract.scale.drop_bound,
            "credit": None if is_matched else candidates.credit,
            "decided_held": committed.decided_held,
            "drop_used": val_score - committed.finetuned_val_score,
            "num_guard_refused": num_refused(self.contract.guard) - refused_before,
            "cut_short": cut_short,
            "wall_time_s": time.perf_counter() - start,
            **seconds_since(before, self.contract.evaluator),
        }
        if cut_short:
            self.store.write_joint(PROVISIONAL, PROVISIONAL, row, candidates.rows)
        else:
            self.snapshots.save(step, committed.state, {})
            self.store.write_joint(number, step, row, candidates.rows)
            self.snapshots.forget_before(step)
        self._tell(committed, step + 1, number + 1)
        return committed.state, committed.finetuned_val_score, cut_short

    def _orders(self, number: int, method: Method, state: State) -> dict[str, list[int]]:
        """Of each decided layer the filters that are left, the most important first.

        A method that ranks no filters without scoring masks is replaced by ``magnitude``.
        """
        ranked: RankedMethod = method if isinstance(method, RankedMethod) else METHODS.build("magnitude", {})

        def order(layer: str) -> list[int]:
            seed = seed_for(self.trial.seed, self.trial.method.name, ALL_LAYERS, number, layer)
            return ranked.order(self.view(state, layer), torch.Generator().manual_seed(seed))

        return {layer: order(layer) for layer in self.layers}

    def _decide(self, masks: _Masks, candidates: _JointCandidates, val_score: float) -> tuple[KeepMask, bool]:
        """The mask, and whether the budget cut the search short."""
        scale = candidates.scale
        most = [len(order) - 1 for order in masks.orders.values()]
        search = JointSearch(most, candidates.saved, _Ask(masks, candidates), self.spec.proposals)
        try:
            return KeepMask.of(masks.mask(search.run(scale.baseline_score - val_score, scale.drop_bound))), False
        except CandidatesSpent:
            return candidates.best_so_far(), False
        except BudgetSpent:
            return candidates.best_so_far(), True

    def _match(self, number: int, masks: _Masks, state: State, val_score: float) -> Committed:
        """Commit the first filters of this method's ranking, as many in each layer as the matched trial kept."""
        assert self.context.matched is not None
        theirs = _split(self.context.matched.joint_rows()[number]["keep_mask"], self.graph)
        mask = KeepMask.of(masks.mask([len(order) - sum(theirs[ly]) for ly, order in masks.orders.items()]))
        if mask.keeps_all:
            return left_whole(state, mask.num_filters, val_score, mask.num_kept)
        return commit_as_given(self.contract, state, ALL_LAYERS, mask)

    def _round_up(self, state: State) -> Callable[[KeepMask], KeepMask]:
        """Adds filters that the pass takes away until every decided layer keeps a multiple of ``round_to``."""
        if self.trial.round_to == 1:
            return lambda mask: mask
        weights = {layer: self.view(state, layer).weights_NM for layer in self.layers}

        def round_up(mask: KeepMask) -> KeepMask:
            entries, out = iter(mask.key), b""
            for layer, kept in state.kept_of(self.graph).items():
                part = bytes(next(entries) for _ in range(kept.num_kept))
                if layer in weights:
                    part = KeepMask(part).round_up(self.trial.round_to, weights[layer]).key
                out += part
            return KeepMask(out)

        return round_up

    def _tell(self, committed: Committed, commits: int, passes: int) -> None:
        size = self.sizes.of(committed.state)
        self.context.progress(
            {
                "layer": ALL_LAYERS,
                "commits": commits,
                "joint_step": passes,
                "committed_pruning_ratio": committed.keep_mask.pruning_ratio,
                "val_score_drop": self.contract.scale.baseline_score - committed.finetuned_val_score,
                "pruning_ratio": self.sizes.pruning_ratio(committed.state, self.layers),
                "params": size.params,
                "macs": size.macs,
                "num_diverged": committed.num_diverged,
            }
        )


class _Masks:
    """From counts of filters that go to the keep mask over all filters that are left."""

    def __init__(self, graph: Graph, state: State, orders: dict[str, list[int]]) -> None:
        self.orders = orders
        self.num_left = {layer: kept.num_kept for layer, kept in state.kept_of(graph).items()}

    def mask(self, counts: Sequence[int]) -> Tensor:
        """(all filters left,) bool."""
        number = dict(zip(self.orders, counts, strict=True))
        parts = [
            keep_first(self.orders[layer], left - number[layer]) if layer in number else torch.ones(left).bool()
            for layer, left in self.num_left.items()
        ]
        return torch.cat(parts)

    def order_of(self, decided: KeepMask) -> list[int]:
        """All filters that are left, the most important first.

        Those that ``decided`` prunes are compared by their places among the pruned ones of their layers, so that a part
        of it prunes about the same share of them in each layer.
        """
        importance: list[float] = []
        for layer, left in self.num_left.items():
            places = {index: left - place for place, index in enumerate(self.orders.get(layer, range(left)))}
            num_pruned = left - sum(decided.key[len(importance) : len(importance) + left])
            importance += [places[index] / num_pruned if num_pruned else math.inf for index in range(left)]
        return sorted(range(len(importance)), key=lambda index: -importance[index])


class _JointCandidates(Candidates):
    """The candidates of one pass; those that save most count as the best."""

    def __init__(self, joint: JointPass, masks: _Masks, state: State, step: int) -> None:
        number, self.credit = sum(masks.num_left.values()), joint.credit()
        place = {"joint_step": step, "val_images": joint.context.baseline.num_val_images}
        super().__init__(
            joint.contract.evaluator, state, ALL_LAYERS, number, joint.contract.scale.lent(self.credit),
            lambda news: joint.context.progress({**news, **place}), joint.budget,
        )  # fmt: skip
        self.spec = joint.spec
        self.graph = joint.graph
        costs = Costs(joint.sizes.traced, joint.sizes.input_shape)
        self.cost = costs.macs if joint.spec.saves == "macs" else costs.params
        self.before = self.cost(state.keep_masks())
        self.masks = masks

    @property
    def most(self) -> int:
        return most_in_a_pass(self.spec, super().most)

    def what_is_left(self, mask: KeepMask) -> int:
        return self.cost({layer: cut.tensor for layer, cut in self.state.all_cut(self.graph, mask).items()})

    def saved(self, counts: Counts) -> int:
        """Multiply-adds (or parameters) saved by taking away filters."""
        return self.before - self.what_is_left(KeepMask.of(self.masks.mask(counts)))


class _Ask:
    """What :class:`JointSearch` asks."""

    def __init__(self, masks: _Masks, candidates: _JointCandidates) -> None:
        self.masks = masks
        self.candidates = candidates

    @property
    def left(self) -> int | None:
        return self.candidates.left

    def __call__(self, some: Sequence[Counts]) -> list[tuple[float | None, bool]]:
        return [(e.score_drop, e.feasible) for e in self.candidates([self.masks.mask(counts) for counts in some])]


def _split(flags: Sequence[bool], graph: Graph) -> dict[str, list[bool]]:
    """The masks of single layers from one of all filters; raises :class:`ResultsError` where it has other filters."""
    parts, at = {}, 0
    for layer, group in graph.groups.items():
        parts[layer] = list(flags[at : at + group.num_filters])
        at += group.num_filters
    if at != len(flags):
        raise ResultsError("the matched trial's joint pass belongs to another network; delete its folder")
    return parts
