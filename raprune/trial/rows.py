"""A trial's and a layer's row, put together from what was measured."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from raprune.network.graph import Group, Traced
from raprune.network.measure import count_bytes, count_macs, count_params, latency_s
from raprune.network.state import State
from raprune.network.surgery import build
from raprune.registry import SCORES, is_given
from raprune.results import SCHEMAS
from raprune.study.schema import Choice, TrialSpec
from raprune.trial.context import TrialContext

if TYPE_CHECKING:
    from raprune.trial.commit import Committed
    from raprune.trial.context import TrialContext


WITHIN_BOUND, AS_MATCHED = "within bound", "as matched"
"""Which masks a trial commits: those whose score is within the bound, or its partner's num_kept whatever the score."""


@dataclass(frozen=True)
class Size:
    """What a network weighs."""

    params: int
    macs: int
    model_bytes: int


class Sizes:
    """Builds the network of a state on the CPU and measures it."""

    def __init__(
        self,
        traced: Traced,
        weights: Mapping[str, Tensor],
        input_shape: tuple[int, int, int],
    ) -> None:
        self.traced = traced
        self.graph = traced.graph
        self.weights = weights
        self.input_shape = input_shape

    def network(self, state: State) -> nn.Module:
        """The physically smaller network."""
        return build(self.traced, state.keep_masks(), state.tensors(self.graph, self.weights), state.factors).eval()

    def of(self, state: State) -> Size:
        network = self.network(state)
        return Size(count_params(network), count_macs(network, self.input_shape), count_bytes(network))

    def latency_s(self, state: State) -> float:
        return latency_s(self.network(state), self.input_shape)

    def filters(self, state: State, layers: str | list[str]) -> tuple[int, int, int]:
        """Filters and kept filters of all convolutions that the decided layers stand for, and how many stayed whole."""
        names = list(self.graph.groups) if layers == "all" else list(layers)
        masks = state.keep_masks()
        num_filters, num_kept = self.graph.num_kept(masks, names)
        return num_filters, num_kept, sum(name not in masks or bool(masks[name].all()) for name in names)

    def pruning_ratio(self, state: State, layers: str | list[str]) -> float:
        num_filters, num_kept, _ = self.filters(state, layers)
        return 1 - num_kept / num_filters


def layer_row(
    group: Group,
    index: int,
    step: int,
    committed: Committed,
    size: Size,
    num_updates: int,
    wall_time_s: float,
    *,
    cut_short: bool,
) -> dict[str, Any]:
    """One row of ``layers``."""
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
        "wall_time_s": wall_time_s,
    }


def trial_row(
    trial: TrialSpec,
    context: TrialContext,
    drop_bound: float,
    state: State,
    sizes: Sizes,
    num_layers: int,
    *,
    val_score: float,
    test_score: float | None,
    baseline_finetuned_val_score: float | None,
    wall_time_s: float,
    status: str = "completed",
    val_score_before_low_rank: float | None = None,
    num_order_candidates: int | None = None,
    num_diverged: int = 0,
) -> dict[str, Any]:
    """The row of a trial that came to its end, or that a budget ``stopped`` before."""
    baseline = context.baseline
    size = sizes.of(state)
    before = None if val_score_before_low_rank is None else sizes.of(state.unfactorised())
    num_filters, num_kept, num_whole = sizes.filters(state, trial.layers)
    num_candidates, num_scored = context.store.candidate_counts()
    has_test = test_score is not None and baseline.test_score is not None
    return _blank(trial, context.preset) | {
        "status": status,
        "score_unit": baseline.score_unit,
        "drop_bound": None if trial.matched_trial_id else drop_bound,
        "num_val_images": baseline.num_val_images,
        "baseline_val_score": baseline.val_score,
        "baseline_finetuned_val_score": baseline_finetuned_val_score,
        "baseline_test_score": baseline.test_score,
        "val_score": val_score,
        "test_score": test_score,
        "val_score_drop": baseline.val_score - val_score,
        "test_score_drop": (baseline.test_score or 0.0) - (test_score or 0.0) if has_test else None,
        "num_layers": num_layers,
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
        "val_score_before_low_rank": val_score_before_low_rank,
        "num_candidates": num_candidates,
        "num_scored": num_scored,
        "num_order_candidates": num_order_candidates,
        "num_diverged": num_diverged,
        "baseline_latency_s": sizes.latency_s(State.baseline(baseline.key)),
        "latency_s": sizes.latency_s(state),
        "wall_time_s": wall_time_s,
        "evaluators": context.num_evaluators,
        "device": context.device,
    }


def unfinished_row(trial: TrialSpec, preset: str, status: str, error: str | None) -> dict[str, Any]:
    """The row of a trial that failed or was stopped: what is not known is null."""
    bound = None if trial.matched_trial_id else trial.drop_bound
    return _blank(trial, preset) | {"status": status, "error": error, "drop_bound": bound}


def describe_error(error: BaseException, host: str) -> str:
    """Traceback, host and time of a failure, as the ``error`` column holds it."""
    when = time.strftime("%Y-%m-%d %H:%M:%S")
    return f"{type(error).__name__}: {error}\nhost {host}, {when}\n{''.join(traceback.format_exception(error))}"


def _blank(trial: TrialSpec, preset: str) -> dict[str, Any]:
    """Every column of the trial table, filled where the specification says it."""

    def settings(choice: Choice) -> str:
        return json.dumps(choice.settings, sort_keys=True)

    row: dict[str, Any] = dict.fromkeys(SCHEMAS["trial"].names)
    del row["study"], row["trial_id"]
    row["score_settings"] = settings(trial.score)
    for kind in ("model", "dataset", "method", "order", "reward"):
        choice: Choice = getattr(trial, kind)
        row |= {kind: choice.name, f"{kind}_settings": settings(choice)}
    return row | {
        "seed": trial.seed,
        "baseline_seed": trial.baseline.seed,
        "data_seed": trial.data_seed,
        "residual": trial.residual,
        "round_to": trial.round_to,
        "layers": trial.layers if isinstance(trial.layers, str) else json.dumps(trial.layers),
        "preset": preset,
        "fidelity": trial.fidelity_name,
        "score_floor": trial.score_floor,
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


def _baseline_settings(trial: TrialSpec) -> str:
    """JSON without the training that did not happen: of a checkpoint, or of the network that a program gave."""
    if is_given(trial.model.name):
        return "{}"
    return trial.baseline.model_dump_json(include={"checkpoint"} if trial.baseline.checkpoint is not None else None)
