"""One trial, readable from top to bottom (Algorithm 2): layer by layer, decide, cut, fine-tune, commit.

Source: Huang, Zhou, You, Neumann, arXiv 1801.07365, Algorithm 2. Departures: the drop-bound contract of
:mod:`raprune.trial.commit`, and orders other than low-to-high.
"""

from __future__ import annotations

import time
from typing import Any, cast

import torch
from torch import Tensor

from raprune.artefact import plan_of, write_model
from raprune.baseline.origins import note_origin
from raprune.engine.workload import Baseline
from raprune.errors import RapruneError, ResultsError
from raprune.network.masks import keep_first, pruning_ratio
from raprune.network.rounding import round_up
from raprune.network.state import State
from raprune.plugins.methods.base import Decision, LayerView, Method, RankedMethod
from raprune.registry import METHODS, ORDERS, REWARDS
from raprune.results import PROVISIONAL
from raprune.study.schema import TrialSpec
from raprune.study.seeds import seed_for
from raprune.trial.budget import BudgetSpent, Purse
from raprune.trial.candidates import Candidates, Scale
from raprune.trial.commit import Committed, commit_as_given, commit_within_bound, diverged, left_whole
from raprune.trial.context import TrialContext
from raprune.trial.low_rank import LowRankStep, last_snapshot
from raprune.trial.rows import Sizes, layer_row, trial_row
from raprune.trial.snapshots import Snapshots, num_asked


def run_trial(trial: TrialSpec, context: TrialContext) -> dict[str, Any]:
    """Run a trial from its last committed layer to its end; gives back its row, which is then on disk.

    Once the budget is spent the layer being decided is cut to its best mask so far, the rest stay whole, and the row's
    status is ``stopped``; a trial that has not begun to decide raises :class:`BudgetSpent`. Raises what went wrong; the
    layers committed so far stay and are not decided again.
    """
    return _Trial(trial, context).run()


def drop_bound(trial: TrialSpec, baseline: Baseline) -> float:
    """The bound in points, whichever way the study says it; above zero, or :class:`RapruneError`."""
    bound = trial.drop_bound
    if bound is None:
        bound = baseline.val_score - cast(float, trial.score_floor)
    if bound <= 0 or bound < baseline.quantum:
        raise RapruneError(
            f"a drop bound of {bound:.3g} points is less than one of {baseline.num_val_images} validation images"
        )
    return bound


class _Trial:
    def __init__(self, trial: TrialSpec, context: TrialContext) -> None:
        self.trial = trial
        self.context = context
        self.evaluator = context.evaluator
        torch.set_num_threads(trial.scoring.threads)
        baseline = context.baseline
        note_origin(context.store, trial, baseline, context.matched)
        traced = context.workload.load_network(context.inputs, baseline.num_classes, baseline.input_shape)
        self.graph = traced.graph
        self.weights = {name: t.clone() for name, t in traced.network.state_dict().items()}
        self.sizes = Sizes(traced, self.weights, baseline.input_shape)
        reward = REWARDS.build(trial.reward.name, trial.reward.settings)
        self.scale = Scale(baseline.val_score, drop_bound(trial, baseline), reward)
        self.method: Method = METHODS.build(trial.method.name, trial.method.settings)
        self.purse = Purse(context.budget, trial.trial_id, num_asked(context.store))
        self.snapshots = Snapshots(context.store.folder / "state", context.workload.baseline_key)
        self.trains = trial.finetune.before_reward.num_steps(1) > 0
        """Candidates are fine-tuned before they are scored."""
        rows = [*context.store.layer_rows(), *context.store.low_rank_rows()]
        self.num_diverged = sum(row.get("num_diverged") or 0 for row in rows)
        """Fine-tunes so far that left weights which are NaN or infinite; none of them was kept."""

    def run(self) -> dict[str, Any]:
        start = time.perf_counter()
        layers = self.graph.arrange(self.graph.groups if self.trial.layers == "all" else self.trial.layers)
        order = self._order(layers)
        store = self.context.store
        done = store.num_committed()
        earlier_s = sum(row["wall_time_s"] for row in store.layer_rows() + store.low_rank_rows())
        state = self.snapshots.load(last_snapshot(store, done)) if done else State.baseline(self.context.baseline.key)
        val_score = store.layer_rows()[-1]["finetuned_val_score"] if done else self.context.baseline.val_score
        if not done:
            self.purse.require()
        for step in range(done, len(order)):
            if self.purse.is_empty:
                break
            state, val_score = self._layer(step, order[step], state, val_score, num_layers=len(order))
        stopped, pruned_val_score = store.num_committed() < len(order), None
        if not stopped and self.trial.postprocess.low_rank is not None:
            pruned_val_score = val_score
            low_rank = self._low_rank(len(order))
            state, val_score, done_all = low_rank.run(state, val_score)
            self.num_diverged += low_rank.num_diverged
            stopped = not done_all
        if not stopped:
            state, val_score = self._finish(state, val_score)
        test_score = self._measure_test(state)
        finetuned = self._baseline_finetuned(store.num_decided() if stopped else len(order), stopped)
        row = trial_row(
            self.trial, self.context, self.scale.drop_bound, state, self.sizes, len(layers),
            val_score=val_score, test_score=test_score, baseline_finetuned_val_score=finetuned,
            wall_time_s=earlier_s + time.perf_counter() - start, status="stopped" if stopped else "completed",
            val_score_before_low_rank=pruned_val_score, num_order_candidates=self._num_order_candidates(),
            num_diverged=self.num_diverged,
        )  # fmt: skip
        said = row | {"study": self.trial.study, "trial_id": self.trial.trial_id}
        plan = plan_of(said, self.trial.model, self.context.baseline, self.graph, state)
        write_model(store.folder / "model", plan, self.sizes.network(state))
        if pictures := self.evaluator.pictures(state):
            store.write_pictures(pictures)
        store.write_trial(row)
        return row

    def _order(self, layers: list[str]) -> list[str]:
        """The order of deciding: the matched trial's own, else the study's; found once and kept."""
        if self.context.matched is not None:
            return [row["layer"] for row in self.context.matched.layer_rows()]
        known = self.snapshots.order()
        if known is None:
            baseline = State.baseline(self.context.baseline.key)
            order = ORDERS.build(self.trial.order.name, self.trial.order.settings)
            num_candidates, paid = 0, self.snapshots.num_order_candidates() or 0

            def score(layer: str, mask: Tensor) -> float:
                nonlocal num_candidates
                if num_candidates >= paid:
                    self.purse.require()
                    self.purse.take(1)
                num_candidates += 1
                found = self.evaluator.evaluate(baseline, layer, [mask], None)[0]
                self.context.progress({"layer": layer, "new_candidates": 1, "new_scored": int(not found.from_memo)})
                return cast(float, found.scored.score)

            try:
                known = order.arrange([self._view(baseline, layer) for layer in layers], score)
            except BudgetSpent:
                self.snapshots.save_order(None, num_candidates)
                raise
            if sorted(known) != sorted(layers):
                raise AssertionError(f"order {self.trial.order.name} is not a permutation of the layers")
            self.snapshots.save_order(known, num_candidates)
        if sorted(known) != sorted(layers):
            raise ResultsError(
                f"{self.snapshots.folder / 'order.json'} has other layers than the trial decides; delete "
                f"{self.snapshots.folder.parent} to start it again"
            )
        return known

    def _num_order_candidates(self) -> int | None:
        """Masks that the order had scored: none of a matched trial, which takes its partner's."""
        return 0 if self.context.matched is not None else self.snapshots.num_order_candidates()

    def _view(self, state: State, layer: str) -> LayerView:
        """The layer as a method sees it: its present weights, members side by side."""
        tensors = state.tensors(self.graph, self.weights)
        group = self.graph.group(layer)
        weights = [m.weights_NM(tensors[f"{m.layer}.weight"], group.num_filters) for m in group.members]
        return LayerView(layer, torch.cat(weights, 1))

    def _layer(self, step: int, layer: str, state: State, val_score: float, num_layers: int) -> tuple[State, float]:
        """Decide one layer and commit it: the state and its validation score afterwards."""
        start = time.perf_counter()
        view = self._view(state, layer)
        place = {"prune_step": step, "num_layers": num_layers}
        candidates = Candidates(
            self.evaluator, state, layer, view.num_filters, self.scale,
            lambda told: self.context.progress({**told, **place}), self.purse,
        )  # fmt: skip
        rng = torch.Generator().manual_seed(seed_for(self.trial.seed, self.trial.method.name, layer))
        cut_short = False
        if self.context.matched is not None:
            decision, committed = self._match(step, view, state, val_score, rng)
        else:
            decision, cut_short = self._decide(view, candidates, rng)
            committed = commit_within_bound(
                self.evaluator, self.graph, candidates, decision.keep_mask, self.scale, val_score,
                lambda mask: round_up(mask, self.trial.round_to, view.weights_NM), self.trial.fidelity,
                trains=self.trains, weights=self.weights,
            )  # fmt: skip
        if not cut_short:
            self.snapshots.save(step, committed.state, decision.agent_state)
        self.num_diverged += committed.num_diverged
        index = list(self.graph.groups).index(layer)
        sizes = self.sizes.of(committed.state)
        row = layer_row(
            self.graph.group(layer), index, step, committed, sizes, len(candidates.update_rows),
            time.perf_counter() - start, cut_short=cut_short,
        )  # fmt: skip
        self.context.store.write_layer(PROVISIONAL if cut_short else step, row, candidates.update_rows, candidates.rows)
        if not cut_short:
            self.snapshots.forget_before(step)
        self._tell_committed(step, num_layers, layer, committed)
        return committed.state, committed.finetuned_val_score

    def _decide(self, view: LayerView, candidates: Candidates, rng: torch.Generator) -> tuple[Decision, bool]:
        """The method's decision; where the budget ends the search, the best mask so far and that it was cut short."""
        try:
            return self.method.decide(view, candidates, rng), False
        except BudgetSpent:
            return Decision(candidates.best_so_far()), True

    def _match(
        self, step: int, view: LayerView, state: State, val_score: float, rng: torch.Generator
    ) -> tuple[Decision, Committed]:
        """The matched trial's num_kept along this method's ranking."""
        assert self.context.matched is not None
        num_kept = self.context.matched.layer_rows()[step]["num_kept"]
        mask = keep_first(cast(RankedMethod, self.method).rank(view, rng), num_kept)
        if mask.all():
            return Decision(mask), left_whole(state, mask, val_score, num_kept)
        committed = commit_as_given(
            self.evaluator, self.graph, state, view.layer, mask, self.scale, self.trial.fidelity,
            trains=self.trains, weights=self.weights,
        )  # fmt: skip
        return Decision(mask), committed

    def _tell_committed(self, step: int, num_layers: int, layer: str, committed: Committed) -> None:
        self.context.progress(
            {
                "layer": layer,
                "prune_step": step + 1,
                "num_layers": num_layers,
                "committed_pruning_ratio": pruning_ratio(committed.keep_mask),
                "val_score_drop": self.scale.baseline_score - committed.finetuned_val_score,
                "pruning_ratio": self.sizes.pruning_ratio(committed.state, self.trial.layers),
                "num_diverged": committed.num_diverged,
            }
        )

    def _low_rank(self, first_step: int) -> LowRankStep:
        spec = self.trial.postprocess.low_rank
        assert spec is not None
        return LowRankStep(
            spec, self.evaluator, self.sizes, self.scale, self.context.store, self.snapshots, first_step,
            self.context.matched, self.context.progress, lambda: self.purse.is_empty, self.weights,
        )  # fmt: skip

    def _finish(self, state: State, val_score: float) -> tuple[State, float]:
        """The final fine-tune, kept only if it is within the bound or, in a matched trial, no worse."""
        final = self.evaluator.finetune(state, "final", state.version)
        if final.version == state.version:
            return state, val_score
        if diverged(final, self.weights):
            self.num_diverged += 1
            return state, val_score
        score = self.evaluator.measure(final, "val")
        return (final, score) if self.scale.keeps(val_score, score) else (state, val_score)

    def _measure_test(self, state: State) -> float | None:
        """The one time that this trial opens the test split."""
        return None if self.context.baseline.test_score is None else self.evaluator.measure(state, "test")

    def _baseline_finetuned(self, num_layers: int, stopped: bool) -> float | None:
        """What the same fine-tuning alone gives: one committed fine-tune a layer and the final one, nothing pruned.

        A trial that a budget stopped had no final one. ``None`` where that fine-tuning diverges.
        """

        def compute() -> float | None:
            state = State.baseline(self.context.baseline.key)
            for _ in range(num_layers):
                state = self.evaluator.finetune(state, "commit", state.version)
            final = state if stopped else self.evaluator.finetune(state, "final", state.version)
            return None if diverged(final, self.weights) else self.evaluator.measure(final, "val")

        name = f"finetuned-{self.context.workload.key}-{num_layers}{'-stopped' if stopped else ''}"
        return self.snapshots.shared_score(self.context.baseline.folder, name, compute)
