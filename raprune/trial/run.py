"""One trial, readable from top to bottom (Algorithm 2): decide, cut, fine-tune and commit layer by layer.

Source: Huang, Zhou, You, Neumann, arXiv 1801.07365, Algorithm 2. Departures: the drop-bound contract of
:mod:`raprune.trial.within_bound`, orders other than low-to-high, and allocations of the bound
(:mod:`raprune.trial.prelude`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from raprune.artefact import plan_of, write_model
from raprune.baseline.origins import note_origin
from raprune.engine.tasks import Importance, Measure, Pictures
from raprune.network.costs import Costs
from raprune.network.masks import KeepMask, keep_first
from raprune.network.measure import NetworkSize
from raprune.network.state import State
from raprune.plugins.methods.base import Criterion, LayerView, RankedMethod, Ranking
from raprune.results import DOMINATED, PROVISIONAL
from raprune.study.schema import TrialSpec
from raprune.study.seeds import seed_for
from raprune.trial.asked import build_decision, build_method, limit
from raprune.trial.budget import TrialBudget
from raprune.trial.candidates import Candidates
from raprune.trial.clock import Clocked, seconds_of, seconds_since, seconds_so_far
from raprune.trial.committed import Committed, left_whole
from raprune.trial.context import TrialContext
from raprune.trial.credit import credit_of
from raprune.trial.deciding import check_order, decide_layer
from raprune.trial.ending import finetuned_baseline, finish
from raprune.trial.filters import filter_columns
from raprune.trial.grounds import grounds_of, guard_after
from raprune.trial.guard import num_refused, share_held_back
from raprune.trial.joint import JointPass
from raprune.trial.low_rank import LowRankStep, last_snapshot
from raprune.trial.pacing import Course
from raprune.trial.page_copies import write_page_copies
from raprune.trial.prelude import Prelude, Schedule
from raprune.trial.rows import TrialOutcome, layer_row, trial_row
from raprune.trial.snapshots import Snapshots, num_asked
from raprune.trial.within_bound import commit_as_given, commit_within_bound


def run_trial(trial: TrialSpec, context: TrialContext) -> dict[str, Any]:
    """Run a trial from its last committed layer to its end; writes its row and returns it.

    Once the budget is spent, the layer being decided is cut to its best mask so far, the other layers stay whole, and
    the row's status is ``stopped``; a trial that has not begun to decide raises :class:`BudgetSpent`. A scheduler may
    stop it, too, after a layer. Errors pass through; the layers committed so far stay and are not decided again.
    """
    return _Trial(trial, context).run()


class _Trial:
    def __init__(self, trial: TrialSpec, context: TrialContext) -> None:
        self.trial = trial
        context = self.context = replace(context, evaluator=Clocked(context.evaluator))
        self.evaluator = context.evaluator
        note_origin(context.store, trial, context.baseline, context.matched)
        grounds = grounds_of(trial, context)
        self.graph, self.weights, self.sizes = grounds.graph, grounds.weights, grounds.sizes
        self.layers, self.contract, self.scale = grounds.layers, grounds.contract, grounds.contract.scale
        self.method, self.decision = build_method(trial), build_decision(trial)
        if context.store.num_committed() < len(self.layers):
            context.store.forget_after("layers")
        self.budget = TrialBudget(
            context.budget, trial.trial_id, num_asked(context.store), limit(trial, context.baseline.num_val_images)
        )
        self.snapshots = Snapshots(context.store.folder / "state", context.workload.baseline_key)
        self.prelude = Prelude(trial, context, self.graph, self.budget, self.snapshots)
        if trial.postprocess.joint is not None and not self._joint().has_ended(self.method):
            context.store.forget_after("joint")
        rows = [*context.store.layer_rows(), *context.store.joint_rows(), *context.store.low_rank_rows()]
        if trial.guard:
            self.contract.guard = guard_after(trial, context, rows)
        self.num_diverged = sum(row.get("num_diverged") or 0 for row in rows)
        """Fine-tunes so far that left NaN or infinite weights; none of them was kept."""

    def run(self) -> dict[str, Any]:
        start = time.perf_counter()
        schedule = self._schedule()
        order, store = schedule.order, self.context.store
        done = store.num_committed()
        earlier = [*store.layer_rows(), *store.joint_rows()]
        before = [*earlier, *store.low_rank_rows()]
        state, val_score = State.baseline(self.context.baseline.key), self.context.baseline.val_score
        if done:
            state = self.snapshots.load(last_snapshot(store, len(earlier)))
            val_score = earlier[-1]["finetuned_val_score"]
        if done:
            place = {"prune_step": done, "num_layers": len(order), "joint_step": store.num_joint()}
            self.context.progress(place)
        else:
            self.budget.require()
        dominated = False
        for step in range(done, len(order)):
            if self.budget.is_empty or (dominated := self._is_dominated()):
                break
            state, val_score = self._layer(step, schedule, state, val_score)
        stopped, pruned_val_score = store.num_committed() < len(order), None
        if not stopped and self.trial.postprocess.joint is not None:
            joint = self._joint()
            state, val_score, done_all = joint.run(self.method, state, val_score)
            self.num_diverged += joint.num_diverged
            stopped = not done_all
        if not stopped and self.trial.postprocess.low_rank is not None:
            pruned_val_score = val_score
            low_rank = self._low_rank(len(order) + store.num_joint())
            state, val_score, done_all = low_rank.run(state, val_score)
            self.num_diverged += low_rank.num_diverged
            stopped = not done_all
        if not stopped:
            state, val_score, num_diverged = finish(self.contract, state, val_score, self.context.matched is not None)
            self.num_diverged += num_diverged
        test_score = self._measure_test(state)
        finetuned = self._baseline_finetuned(store.num_commits(), stopped)
        outcome = TrialOutcome(
            stopped_by=None if not stopped else DOMINATED if dominated else "budget",
            state=state,
            val_score=val_score,
            test_score=test_score,
            baseline_finetuned_val_score=finetuned,
            val_score_before_low_rank=pruned_val_score,
            num_order_candidates=self.prelude.num_candidates(),
            order_images=self.prelude.num_images(),
            num_diverged=self.num_diverged,
            paired=None if (guard := self.contract.guard) is None else guard.measure(state),
            num_guard_looks=None if guard is None else guard.num_looks,
            wall_time_s=sum(row["wall_time_s"] for row in before) + time.perf_counter() - start,
            seconds=seconds_of(before, self.evaluator),
        )
        row = trial_row(self.trial, self.context, self.scale.drop_bound, self.sizes, outcome)
        named = row | {"study": self.trial.study, "trial_id": self.trial.trial_id}
        plan = plan_of(named, self.trial.model, self.context.baseline, self.graph, state)
        write_model(store.folder / "model", plan, self.sizes.network(state))
        write_page_copies(self.evaluator, self.context.baseline, state, store.folder / "model")
        if pictures := self.evaluator.run(Pictures(), state):
            store.write_pictures(pictures)
        store.write_trial(row)
        self.context.progress({"val_score_drop": row["val_score_drop"]})  # after the final fine-tune
        return row

    def _is_dominated(self) -> bool:
        """Whether the scheduler ends the trial here."""
        pace, baseline = self.context.pace, self.context.baseline
        if pace is None or not pace.stops(Course.of(self.context.store, self.trial.baseline_key, baseline.val_score)):
            return False
        self.context.progress({"dominated": True})
        return True

    def _schedule(self) -> Schedule:
        """The order of deciding and the allowances: the matched trial's, or else the study's."""
        baseline, shape = State.baseline(self.context.baseline.key), self.context.baseline.input_shape
        view, costs = partial(self._view, baseline), partial(Costs, self.sizes.traced, shape)
        return self.prelude.run(self.layers, view, costs)

    def _view(self, state: State, layer: str) -> LayerView:
        """The layer as a method sees it: the current weights of its filters, members side by side."""
        tensors = state.tensors(self.graph, self.weights)

        def compute(criterion: Criterion) -> Tensor:
            return torch.tensor(self.evaluator.run(Importance(layer, criterion), state), dtype=torch.float64)

        weights_NM = self.graph.group(layer).weights_NM(tensors, state.keep_masks().get(layer))
        return LayerView(layer, weights_NM, compute)

    def _layer(self, step: int, schedule: Schedule, state: State, val_score: float) -> tuple[State, float]:
        """Decide one layer and commit it; returns the state and its validation score afterwards.

        In place of the drop bound, candidates, their rewards and the commit have the layer's allowance.
        """
        start, before = time.perf_counter(), seconds_so_far(self.evaluator)
        refused_before = num_refused(self.contract.guard)
        layer, num_layers = schedule.order[step], len(schedule.order)
        allowance = self.scale.drop_bound * schedule.allowed[step]
        contract = replace(self.contract, scale=replace(self.scale, drop_bound=allowance))
        contract.held_back = max(0.0, self._held_back(step + 1, num_layers) - (self.scale.drop_bound - allowance))
        view = self._view(state, layer)
        place = {"prune_step": step, "num_layers": num_layers, "val_images": self.context.baseline.num_val_images}
        credit = credit_of(self.trial, self.scale.drop_bound, self.context.store.layer_rows())
        matched = self.context.matched is not None
        scale = contract.scale if matched else contract.search_scale(state, val_score)
        candidates = Candidates(
            self.evaluator, state, layer, view.num_filters,
            replace(scale, start=val_score).lent(credit),
            lambda news: self.context.progress({**news, **place}), self.budget,
        )  # fmt: skip
        rng = torch.Generator().manual_seed(seed_for(self.trial.seed, self.trial.method.name, layer))
        cut_short = False
        search_s = 0.0
        if matched:
            committed, ranking = self._match(step, view, state, val_score, rng)
        else:
            decided, ranking, cut_short = decide_layer(self.method, self.decision, view, candidates, rng)
            search_s = time.perf_counter() - start
            committed = commit_within_bound(
                contract, candidates, decided, val_score,
                lambda mask: mask.round_up(self.trial.round_to, view.weights_NM), ranking.order,
            )  # fmt: skip
        if not cut_short:
            self.snapshots.save(step, committed.state, ranking.agent_state)
        self.num_diverged += committed.num_diverged
        index = list(self.graph.groups).index(layer)
        size = self.sizes.of(committed.state)
        num_updates = len(candidates.update_rows)
        row = layer_row(self.graph.group(layer), index, step, committed, size, num_updates, cut_short)
        weight = state.tensors(self.graph, self.weights)[f"{layer}.weight"]
        row |= filter_columns(self.graph.group(layer), index, view, weight, ranking)
        row["drop_allowance"] = None if matched else allowance
        row["credit"] = None if matched else credit
        row["decided_held"] = committed.decided_held
        row["num_guard_refused"] = num_refused(contract.guard) - refused_before
        row["drop_used"] = val_score - committed.finetuned_val_score
        row["drop_margin"] = None if matched else scale.baseline_score - self.scale.baseline_score
        row |= {"wall_time_s": time.perf_counter() - start, **seconds_since(before, self.evaluator)}
        self.context.store.write_layer(PROVISIONAL if cut_short else step, row, candidates.update_rows, candidates.rows)
        if not cut_short:
            self.snapshots.forget_before(step)
        self._tell_committed(place, layer, committed, size, (search_s, row["wall_time_s"] - search_s))
        return committed.state, committed.finetuned_val_score

    def _held_back(self, num_decided: int, num_layers: int) -> float:
        """Points of the bound that are left on the guard for later layers; none under a warranty or without credit."""
        if self.trial.warranty is not None or self.trial.lent(self.scale.drop_bound) == 0:
            return 0.0
        return self.scale.drop_bound * share_held_back(num_decided, num_layers)

    def _match(
        self, step: int, view: LayerView, state: State, val_score: float, rng: torch.Generator
    ) -> tuple[Committed, Ranking]:
        """Commit the first filters of this method's ranking, as many as the matched trial kept."""
        assert self.context.matched is not None
        assert isinstance(self.method, RankedMethod)
        num_kept = self.context.matched.layer_rows()[step]["num_kept"]
        order = self.method.order(view, rng)
        check_order(self.method, order, view)
        mask = KeepMask.of(keep_first(order, num_kept), view.num_filters)
        if mask.keeps_all:
            return left_whole(state, mask.num_filters, val_score, num_kept), Ranking(order)
        return commit_as_given(self.contract, state, view.layer, mask), Ranking(order)

    def _tell_committed(
        self,
        place: Mapping[str, int],
        layer: str,
        committed: Committed,
        size: NetworkSize,
        seconds: tuple[float, float],
    ) -> None:
        """Report a committed layer; ``seconds``: until its filters were chosen, and from then on."""
        self.context.progress(
            {
                "layer": layer,
                "prune_step": place["prune_step"] + 1,
                "commits": place["prune_step"] + 1,
                "num_layers": place["num_layers"],
                "searched_s": seconds[0],
                "committed_s": seconds[1],
                "committed_pruning_ratio": committed.keep_mask.pruning_ratio,
                "val_score_drop": self.scale.baseline_score - committed.finetuned_val_score,
                "pruning_ratio": self.sizes.pruning_ratio(committed.state, self.layers),
                "params": size.params,
                "macs": size.macs,
                "num_diverged": committed.num_diverged,
            }
        )

    def _joint(self) -> JointPass:
        return JointPass(self.trial, self.contract, self.sizes, self.context, self.snapshots, self.budget, self._view)

    def _low_rank(self, first_step: int) -> LowRankStep:
        spec = self.trial.postprocess.low_rank
        assert spec is not None
        return LowRankStep(
            spec, self.contract, self.sizes, self.context, self.snapshots, first_step, lambda: self.budget.is_empty
        )

    def _measure_test(self, state: State) -> float | None:
        """The test score; nothing else in a trial reads the test split. ``None`` without one."""
        return None if self.context.baseline.test_score is None else self.evaluator.run(Measure("test"), state)

    def _baseline_finetuned(self, number: int, stopped: bool) -> float | None:
        """Score of the baseline after the same fine-tuning: ``number`` committed fine-tunes and the final one.

        A trial that a budget stopped has no final one. ``None`` where that fine-tuning diverges.
        """

        def compute() -> float | None:
            return finetuned_baseline(self.contract, self.context.baseline.key, number, stopped)

        name = f"finetuned-{self.context.workload.key}-{number}{'-stopped' if stopped else ''}"
        return self.snapshots.shared_score(self.context.baseline.folder, name, compute)
