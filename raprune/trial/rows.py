"""Builds the rows of a trial and its layers from what was measured."""

from __future__ import annotations

import json
import math
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from raprune.engine.paired import Paired
from raprune.errors import out_of_memory
from raprune.network.graph import Graph, Group
from raprune.network.lowrank import Surveyed
from raprune.network.measure import NetworkSize
from raprune.network.sizes import Sizes
from raprune.network.state import State
from raprune.registry import SCORES, is_given
from raprune.results import PARTS, SCHEMAS
from raprune.study.schema import Choice, TrialSpec
from raprune.trial.committed import Committed
from raprune.trial.context import TrialContext

WITHIN_BOUND, AS_MATCHED = "within bound", "as matched"
"""Which masks a trial commits: those within the bound, or those with its partner's num_kept, whatever the score."""


def layer_row(
    group: Group,
    index: int,
    step: int,
    committed: Committed,
    size: NetworkSize,
    num_updates: int,
    cut_short: bool,
) -> dict[str, Any]:
    """One row of ``layers``, without its time."""
    mask = committed.keep_mask
    return {
        "layer": group.layer,
        "layer_index": index,
        "role": group.role,
        "prune_step": step,
        "num_filters": mask.num_filters,
        "num_kept": mask.num_kept,
        "num_decided": committed.num_decided,
        "pruning_ratio": mask.pruning_ratio,
        "keep_mask": mask.flags,
        "cut_val_score": committed.cut_val_score,
        "pruned_val_score": committed.pruned_val_score,
        "finetuned_val_score": committed.finetuned_val_score,
        "params": size.params,
        "macs": size.macs,
        "num_updates": num_updates,
        "num_diverged": committed.num_diverged,
        "cut_short": cut_short,
        **_on_guard(committed.paired, committed.num_guard_looks),
    }


def _on_guard(paired: Paired | None, num_looks: int | None, unchanged: bool = False) -> dict[str, Any]:
    """The columns of what the guard images say; null where they were not opened. ``unchanged``: it is the baseline."""
    limit = None if paired is None else 0.0 if unchanged else paired.limit()
    return {
        "guard_score": None if paired is None else paired.score,
        "guard_score_drop": None if paired is None else paired.drop,
        "score_drop_limit": limit if limit is not None and math.isfinite(limit) else None,
        "num_guard_looks": num_looks,
    }


def joint_row(number: int, graph: Graph, before: State, committed: Committed, size: NetworkSize) -> dict[str, Any]:
    """One row of ``joint``, without what the pass was allowed, used and took."""
    kept = committed.state.kept_of(graph).values()
    return {
        "joint_step": number,
        "num_filters": sum(mask.num_filters for mask in kept),
        "num_kept_before": sum(mask.num_kept for mask in before.kept_of(graph).values()),
        "num_kept": sum(mask.num_kept for mask in kept),
        "keep_mask": [flag for mask in kept for flag in mask.flags],
        "layer_sizes": [mask.num_filters for mask in kept],
        "cut_val_score": committed.cut_val_score,
        "pruned_val_score": committed.pruned_val_score,
        "finetuned_val_score": committed.finetuned_val_score,
        "params": size.params,
        "macs": size.macs,
        "num_diverged": committed.num_diverged,
        **_on_guard(committed.paired, committed.num_guard_looks),
    }


def low_rank_row(step: int, layer: Surveyed, val_score: float) -> dict[str, Any]:
    """One row of ``low_rank`` for a layer that stays as it is, without its time."""
    costs = layer.costs
    return {
        "layer": layer.layer,
        "layer_index": layer.index,
        "step": step,
        "scheme": None if costs is None else costs.scheme,
        "full_rank": None if costs is None else costs.full_rank,
        "rank": None,
        "energy": None,
        "params_before": layer.before.params,
        "params_after": None,
        "macs_before": layer.before.macs,
        "macs_after": None,
        "bytes_before": layer.before.model_bytes,
        "bytes_after": None,
        "val_score_before": val_score,
        "factorised_val_score": None,
        "val_score_after": None,
        "num_scored": 0,
        "num_diverged": 0,
        "num_guard_looks": 0,
        "applied": False,
        "reason": None,
    }


@dataclass(frozen=True)
class TrialOutcome:
    """The result of a trial: at its end, or where it was stopped."""

    stopped_by: str | None
    """``budget`` or ``dominated``; ``None`` at its end."""
    state: State
    val_score: float
    """Of ``state``."""
    test_score: float | None
    baseline_finetuned_val_score: float | None
    wall_time_s: float
    val_score_before_low_rank: float | None
    num_order_candidates: int | None
    order_images: int | None
    """Images that the order's candidates saw; ``None`` where an earlier version did not count them."""
    num_diverged: int
    paired: Paired | None = None
    """``state`` beside the baseline on the guard images."""
    num_guard_looks: int | None = None
    seconds: Mapping[str, float | None] = field(default_factory=dict)
    """Parts of ``wall_time_s``, as in :mod:`raprune.trial.clock`."""


def trial_row(
    trial: TrialSpec, context: TrialContext, drop_bound: float, sizes: Sizes, outcome: TrialOutcome
) -> dict[str, Any]:
    """The row of a trial that completed, or that was stopped with scores."""
    state, layers = outcome.state, trial.layers_among(sizes.graph.groups)
    val_score, test_score, paired = outcome.val_score, outcome.test_score, outcome.paired
    baseline = context.baseline
    size = sizes.of(state)
    before = None if outcome.val_score_before_low_rank is None else sizes.of(state.unfactorised())
    num_filters, num_kept, num_whole = sizes.filters(state, layers)
    num_candidates, num_scored, images = context.store.candidate_counts()
    has_test = test_score is not None and baseline.test_score is not None
    return _specified(trial, context.preset) | {
        "status": "completed" if outcome.stopped_by is None else "stopped",
        "stopped_by": outcome.stopped_by,
        "error": None,
        "score_unit": baseline.score_unit,
        "drop_bound": None if trial.matched_trial_id else drop_bound,
        "credit": trial.lent(drop_bound),
        "num_val_images": baseline.num_val_images,
        "baseline_val_score": baseline.val_score,
        "baseline_finetuned_val_score": outcome.baseline_finetuned_val_score,
        "baseline_test_score": baseline.test_score,
        "val_score": val_score,
        "test_score": test_score,
        "val_score_drop": baseline.val_score - val_score,
        "test_score_drop": (baseline.test_score or 0.0) - (test_score or 0.0) if has_test else None,
        "num_guard_images": 0 if paired is None else paired.num_images,
        "baseline_guard_score": None if paired is None else paired.score + paired.drop,
        **_on_guard(paired, outcome.num_guard_looks, unchanged=state.version == State.baseline(baseline.key).version),
        "num_layers": len(layers),
        "num_layers_decided": context.store.num_decided(),
        "num_layers_whole": num_whole,
        "num_filters": num_filters,
        "num_kept": num_kept,
        "pruning_ratio": 1 - num_kept / num_filters,
        "baseline_params": baseline.params,
        "params": size.params,
        "params_before_low_rank": None if before is None else before.params,
        "baseline_macs": baseline.macs,
        "macs": size.macs,
        "macs_before_low_rank": None if before is None else before.macs,
        "baseline_model_bytes": baseline.model_bytes,
        "model_bytes": size.model_bytes,
        "model_bytes_before_low_rank": None if before is None else before.model_bytes,
        "val_score_before_low_rank": outcome.val_score_before_low_rank,
        "num_candidates": num_candidates,
        "num_scored": num_scored,
        "num_order_candidates": outcome.num_order_candidates,
        "images_scored": None if outcome.order_images is None else images + outcome.order_images,
        "num_diverged": outcome.num_diverged,
        "baseline_latency_s": sizes.latency_s(State.baseline(baseline.key)),
        "latency_s": sizes.latency_s(state),
        "wall_time_s": outcome.wall_time_s,
        **{part: outcome.seconds.get(part) for part in PARTS},
        "evaluators": context.num_evaluators,
        "device": context.device,
    }


def unfinished_row(trial: TrialSpec, preset: str, status: str, error: str | None) -> dict[str, Any]:
    """The row of a trial that failed or was stopped; unknown columns are null."""
    bound = None if trial.matched_trial_id else trial.drop_bound
    if error is not None:  # it may name a file whose name is no UTF-8
        error = error.encode("utf-8", "backslashreplace").decode("utf-8")
    unknown = dict.fromkeys(set(SCHEMAS["trial"].names) - {"study", "trial_id"})
    return unknown | _specified(trial, preset) | {"status": status, "error": error, "drop_bound": bound}


def describe_error(error: BaseException, host: str) -> str:
    """Error, host, time and traceback of a failure, for the ``error`` column."""
    when = time.strftime("%Y-%m-%d %H:%M:%S")
    said = out_of_memory(error) or error
    return f"{type(error).__name__}: {said}\nhost {host}, {when}\n{''.join(traceback.format_exception(error))}"


def _specified(trial: TrialSpec, preset: str) -> dict[str, Any]:
    """The columns of the trial table that the specification determines."""

    def settings(choice: Choice) -> str:
        return json.dumps(choice.settings, sort_keys=True)

    row: dict[str, Any] = {"score_settings": settings(trial.score)}
    for kind in ("model", "dataset", "method", "decision", "order", "allocation", "reward"):
        choice: Choice = getattr(trial, kind)
        row |= {kind: choice.name, f"{kind}_settings": settings(choice)}
    return row | {
        "candidates_per_layer": _number(trial.candidates_per_layer),
        "images_per_layer": _number(trial.images_per_layer),
        "seed": trial.seed,
        "baseline_seed": trial.baseline.seed,
        "data_seed": trial.data_seed,
        "residual": trial.residual,
        "round_to": trial.round_to,
        "layers": trial.layers if isinstance(trial.layers, str) else json.dumps(trial.layers),
        "preset": preset,
        "fidelity": trial.fidelity_name,
        "score_floor": trial.score_floor,
        "guard": trial.guard,
        "warranty": trial.warranty,
        "credit": None if isinstance(trial.credit, str) else trial.credit,
        "acceptance": WITHIN_BOUND if trial.matched_trial_id is None else AS_MATCHED,
        "matched_trial_id": trial.matched_trial_id,
        "baseline_settings": _baseline_settings(trial),
        "finetune_settings": trial.finetune.model_dump_json(),
        "postprocess_settings": trial.postprocess.model_dump_json(),
        "scoring_settings": trial.scoring.model_dump_json(),
        "baseline_key": trial.baseline_key,
        "score_name": trial.score.name,
        "score_unit": SCORES.get(trial.score.name).declared.get("unit"),
    }


def _number(limit: int | str) -> int | None:
    return limit if isinstance(limit, int) else None


def _baseline_settings(trial: TrialSpec) -> str:
    """The baseline's settings as JSON, without training settings where a checkpoint or a program gave the weights."""
    if is_given(trial.model.name):
        return "{}"
    return trial.baseline.model_dump_json(include={"checkpoint"} if trial.baseline.checkpoint is not None else None)
