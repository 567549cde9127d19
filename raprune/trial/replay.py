"""Replays a trial from its rows: commits the recorded masks again, and compares every score with the recorded one.

The state that a candidate was scored on is not kept. It follows from the baseline, the keep masks committed before and
their seeded fine-tunes, so committing those masks once more rebuilds it, and checks the committed layers on the way.
The choice between a mask's possible weights follows the trial's own rule (``within_bound.py``). What the replay takes
from the rows without asking is who chose the masks and in which order, how much of the bound each layer might use, how
often training diverged, and how often the guard was opened and refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from raprune.engine.tasks import Candidate, Factorise, Measure
from raprune.network.lowrank import Factor
from raprune.network.masks import KeepMask
from raprune.network.state import ALL_LAYERS, State
from raprune.results import COST_COLUMNS, PROVISIONAL, SCHEMA_VERSION
from raprune.study.schema import TrialSpec
from raprune.trial.candidates import Scale
from raprune.trial.committed import Committed, left_whole
from raprune.trial.context import TrialContext
from raprune.trial.credit import credit_of
from raprune.trial.ending import finetuned_baseline, finish
from raprune.trial.grounds import grounds_of, guard_after
from raprune.trial.low_rank import Factorised, LowRankStep, Stays, last_snapshot
from raprune.trial.rows import TrialOutcome, joint_row, layer_row, trial_row
from raprune.trial.snapshots import Snapshots
from raprune.trial.within_bound import Contract, commit_as_given

Row = Mapping[str, Any]
Step = int | str
"""Number of a file of candidates, or ``PROVISIONAL``."""
AS_RECORDED = {
    "study", "trial_id", "error", "num_decided", "num_updates", "num_diverged", "num_guard_looks", "cut_short",
    "drop_allowance", "num_order_candidates",
}  # fmt: skip
"""Columns that a replay takes from the rows, besides what a trial cost."""
ROUNDING = 1e-9
"""Relative difference of two numbers that are computed from the same counts."""


@dataclass(frozen=True)
class Difference:
    """A column whose value now is not the recorded one."""

    column: str
    recorded: Any
    now: Any

    @property
    def size(self) -> float | None:
        """How far apart two numbers are; ``None`` where they are not both numbers."""
        pair = (self.recorded, self.now)
        if any(isinstance(value, bool) or not isinstance(value, int | float) for value in pair):
            return None
        return abs(float(self.recorded) - float(self.now))


@dataclass(frozen=True)
class Checked:
    """Something of a trial that was computed again."""

    kind: str
    """``candidate``, ``layer``, ``joint pass``, ``low-rank layer``, ``state`` or ``network``."""
    place: str
    """Where it is in the trial, in words."""
    differences: tuple[Difference, ...] = ()


class Unreplayable(Exception):
    """Not an error: the rest of a trial cannot be replayed; says why."""


class Replay:
    """One trial's replay; nothing of the trial is changed."""

    def __init__(
        self, trial: TrialSpec, context: TrialContext, sampled: Mapping[Step, Sequence[int]],
        shared: dict[tuple[str, int, bool], float | None], schema_version: int = SCHEMA_VERSION,
    ) -> None:  # fmt: skip
        """``sampled``: which candidates to score again, file by file; ``shared``: scores of fine-tuned baselines.

        ``schema_version``: of the rows; what an older version did not have is not compared.
        """
        self.trial = trial
        self.context = context
        self.store = context.store
        self.sampled = sampled
        self.shared = shared
        self.is_older = schema_version < SCHEMA_VERSION
        grounds = grounds_of(trial, context)
        self.graph, self.sizes, self.contract = grounds.graph, grounds.sizes, grounds.contract
        self.scale = grounds.contract.scale
        self.state = State.baseline(context.baseline.key)
        self.val_score = context.baseline.val_score
        self.same_weights: bool | None = None
        """Whether the weights after the last commit equal those on disk bit by bit; ``None`` where none are there."""

    def run(self) -> Iterator[Checked]:
        """Everything that was computed again, in the trial's order; raises :class:`Unreplayable`."""
        before: list[Row] = []
        for number, row in enumerate(self._decided("layers")):
            yield from self._layer(row, before, PROVISIONAL if row["cut_short"] else number)
            before.append(row)
        for number, row in enumerate(self._decided("joint")):
            step = PROVISIONAL if row["cut_short"] else self.store.num_committed() + number
            yield from self._joint(row, before, number, step)
            before.append(row)
        pruned_score = self.val_score
        low_rank = self.store.low_rank_rows()
        for row in low_rank:
            yield self._low_rank(row)
        yield from self._snapshot()
        recorded = self.store.trial_row()
        if recorded is not None and recorded["macs"] is not None:
            asked = self.trial.postprocess.low_rank is not None and recorded["val_score_before_low_rank"] is not None
            yield self._end(recorded, [*before, *low_rank], pruned_score if asked else None)

    def _decided(self, table: str) -> list[Row]:
        rows: list[Row] = [*(self.store.layer_rows() if table == "layers" else self.store.joint_rows())]
        cut_short = self.store.cut_short_row(table)
        return rows if cut_short is None else [*rows, cut_short]

    def _layer(self, row: Row, before: Sequence[Row], step: Step) -> Iterator[Checked]:
        layer = row["layer"]
        if layer not in self.graph.groups or layer in self.state.cuts:
            raise Unreplayable(f"{layer} is no layer of its network, or is decided twice")
        mask = self._mask(row, layer, self.graph.group(layer).num_filters)
        contract = self._contract(row, before)
        searched = self.scale if self._is_matched else contract.search_scale(self.state, self.val_score)
        margin = searched.baseline_score - self.scale.baseline_score
        credit = credit_of(self.trial, self.scale.drop_bound, before)
        own = replace(searched, drop_bound=contract.scale.drop_bound, start=self.val_score)
        yield from self._candidates(step, layer, own.lent(credit))
        committed = self._commit(contract, layer, mask, row)
        group, size = self.graph.group(layer), self.sizes.of(committed.state)
        now = layer_row(group, list(self.graph.groups).index(layer), row["prune_step"], committed, size, 0, False)
        now |= {
            "drop_used": self.val_score - committed.finetuned_val_score,
            "drop_margin": None if self._is_matched else margin,
            "credit": None if self._is_matched else credit,
        }
        yield Checked("layer", f"{layer} as committed", self._differing("layers", row, now))
        self.state, self.val_score = committed.state, committed.finetuned_val_score

    def _joint(self, row: Row, before: Sequence[Row], number: int, step: Step) -> Iterator[Checked]:
        kept = self.state.kept_of(self.graph).values()
        flags = row["keep_mask"]
        if len(flags) != sum(mask.num_filters for mask in kept):
            raise Unreplayable(f"the keep mask of joint pass {number} belongs to another network")
        was = [byte for mask in kept for byte in mask.key]
        left = [flag for flag, had in zip(flags, was, strict=True) if had]
        mask = self._mask({"keep_mask": left}, ALL_LAYERS, len(left))
        contract = self._contract(row, before)
        credit = credit_of(self.trial, self.scale.drop_bound, before)
        yield from self._candidates(step, ALL_LAYERS, self.scale.lent(credit))
        parent, committed = self.state, self._commit(contract, ALL_LAYERS, mask, row)
        now = joint_row(number, self.graph, parent, committed, self.sizes.of(committed.state))
        now |= {
            "drop_used": self.val_score - committed.finetuned_val_score,
            "credit": None if self._is_matched else credit,
        }
        yield Checked("joint pass", f"joint pass {number} as committed", self._differing("joint", row, now))
        self.state, self.val_score = committed.state, committed.finetuned_val_score

    @property
    def _is_matched(self) -> bool:
        return self.trial.matched_trial_id is not None

    def _contract(self, row: Row, before: Sequence[Row]) -> Contract:
        """The conditions under which a row was committed, ``before`` being what was committed until then."""
        allowance = row.get("drop_allowance")
        bound = self.scale.drop_bound if allowance is None else allowance
        guard = guard_after(self.trial, self.context, before) if self.trial.guard else None
        return replace(self.contract, scale=replace(self.scale, drop_bound=bound), guard=guard)

    def _mask(self, row: Row, layer: str, num_filters: int) -> KeepMask:
        flags = row["keep_mask"]
        if len(flags) != num_filters or not any(flags):
            raise Unreplayable(
                f"a keep mask of {layer} keeps {sum(flags)} of {len(flags)} filters, not of {num_filters}"
            )
        return KeepMask(bytes(map(bool, flags)))

    def _commit(self, contract: Contract, layer: str, mask: KeepMask, row: Row) -> Committed:
        if mask.keeps_all:
            return left_whole(self.state, mask.num_filters, self.val_score, mask.num_kept)
        committed = commit_as_given(contract, self.state, layer, mask)
        if committed.pruned_val_score is None and row["pruned_val_score"] is not None:
            as_scored = contract.evaluator.run(Candidate(layer, mask), self.state)
            committed = replace(committed, pruned_val_score=contract.evaluator.run(Measure("val"), as_scored))
        return committed

    def _candidates(self, step: Step, layer: str, scale: Scale) -> Iterator[Checked]:
        """The sampled candidates of one layer of the present state."""
        numbers = self.sampled.get(step, ())
        state, evaluator = self.state, self.context.evaluator
        for number, row in zip(numbers, self.store.candidate_rows(step, numbers) if numbers else (), strict=True):
            num_filters = len(row["keep_mask"]) if layer == ALL_LAYERS else self.graph.group(layer).num_filters
            mask = self._mask(row, layer, num_filters)
            found = evaluator.evaluate(state, layer, [mask], scale.lowest)[0].scored.score
            now = {"layer": layer, "score": found, "reward": scale.evaluation(found, mask).reward}
            yield Checked("candidate", f"candidate {number} of {layer}", self._differing("candidates", row, now))

    def _low_rank(self, row: Row) -> Checked:
        spec = self.trial.postprocess.low_rank
        if spec is None:
            raise Unreplayable("it has rows of a low-rank step, which its study does not ask for")
        now: dict[str, Any] = {"val_score_before": self.val_score}
        place = f"{row['layer']} in the low-rank step"
        if row["applied"]:
            evaluator, factor = self.context.evaluator, Factor(row["scheme"], row["rank"])
            state = evaluator.run(Factorise(row["layer"], factor, spec.images), self.state)
            score = evaluator.run(Measure("val"), state)
            contract = replace(self.contract, guard=None)  # it allowed what was applied
            step = LowRankStep(spec, contract, self.sizes, self.context, self._snapshots, 0, lambda: False)
            try:
                kept = step.finetuned(row["layer"], Factorised(state, score, score, 1))
            except Stays as stays:
                return Checked("low-rank layer", place, (Difference("applied", True, f"not applied: {stays}"),))
            now |= {"factorised_val_score": score, "val_score_after": kept.val_score}
            self.state, self.val_score = kept.state, kept.val_score
        return Checked("low-rank layer", place, self._differing("low_rank", row, now))

    @property
    def _snapshots(self) -> Snapshots:
        return Snapshots(self.store.folder / "state", self.context.workload.baseline_key)

    def _snapshot(self) -> Iterator[Checked]:
        """Compare the state before the final fine-tune with the one on disk, where there is one."""
        number = last_snapshot(self.store, self.store.num_committed() + self.store.num_joint())
        cut_short = any(self.store.cut_short_row(table) is not None for table in ("layers", "joint"))
        if cut_short or not (self._snapshots.folder / f"{number}.json").is_file():
            return
        kept = self._snapshots.load(number)
        if self.state.arrays:
            self.same_weights = kept.version == self.state.version
        masks = [{layer: mask.flags for layer, mask in state.cuts.items()} for state in (kept, self.state)]
        differing = [Difference(f"keep_mask of {ly}", masks[0].get(ly), now) for ly, now in masks[1].items()]
        yield Checked("state", f"state/{number}.json", tuple(d for d in differing if d.recorded != d.now))

    def _end(self, recorded: Row, rows: Sequence[Row], pruned_score: float | None) -> Checked:
        """The trial's row, with the network at the end."""
        stopped, context, contract = recorded["status"] == "stopped", self.context, self.contract
        guard = guard_after(self.trial, context, rows) if self.trial.guard else None
        state, val_score = self.state, self.val_score
        if not stopped:
            state, val_score, _ = finish(replace(contract, guard=guard), state, val_score, self._is_matched)
        test_score = None if context.baseline.test_score is None else contract.evaluator.run(Measure("test"), state)
        stopped_by = (recorded.get("stopped_by") or "budget") if stopped else None
        outcome = TrialOutcome(
            stopped_by, state, val_score, test_score, self._finetuned_baseline(stopped), 0.0, pruned_score,
            recorded["num_order_candidates"], None, recorded["num_diverged"],
            None if guard is None else guard.measure(state), recorded["num_guard_looks"],
        )  # fmt: skip
        now = trial_row(self.trial, context, self.scale.drop_bound, self.sizes, outcome)
        return Checked("network", "the network at the end", self._differing("trial", recorded, now))

    def _finetuned_baseline(self, stopped: bool) -> float | None:
        number = self.store.num_commits()
        key = self.context.workload.key, number, stopped
        if key not in self.shared:
            self.shared[key] = finetuned_baseline(self.contract, self.context.baseline.key, number, stopped)
        return self.shared[key]

    def _differing(self, table: str, recorded: Row, now: Row) -> tuple[Difference, ...]:
        """The columns of ``now`` that are recorded otherwise."""
        skipped = {*AS_RECORDED, *COST_COLUMNS[table]}
        return tuple(
            Difference(column, recorded[column], value)
            for column, value in now.items()
            if column not in skipped and column in recorded and not is_equal(recorded[column], value)
            if not (self.is_older and recorded[column] is None)
        )


def is_equal(one: Any, other: Any) -> bool:
    """Whether two values of a column are the same, rounding of sums aside."""
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (one, other))
    return math.isclose(one, other, rel_tol=ROUNDING, abs_tol=ROUNDING) if numbers else bool(one == other)
