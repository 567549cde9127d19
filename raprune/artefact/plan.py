"""``plan.json``: all that rebuilds a pruned network from its weights, and what its user has to know."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field, ValidationError
from torch import Tensor

from raprune.engine.workload import Baseline
from raprune.errors import InputError
from raprune.network.graph import Graph
from raprune.network.lowrank.factor import Factor
from raprune.network.state import State
from raprune.registry import Settings
from raprune.study.schema import DataChoice, ModelChoice

FORMAT_VERSION = 4
"""Of ``plan.json``. The first had no number; such files are completed from the trial's row and its baseline. The second
had no fingerprints, the third no guard."""
PLAN_FILE = "plan.json"

FROM_PIXELS = "(pixel / 255 - mean) / std, channel by channel"
AS_GIVEN = "none: the data set's images are normalised already"


class Preprocessing(Settings):
    """From an image to the network's input."""

    layout: str = "NCHW"
    """Order of the input's dimensions: images, channels, height, width."""
    pixel_range: tuple[int, int] | None
    """Smallest and largest value of a pixel; null where the data set's images are floats that are input already."""
    mean: tuple[float, ...]
    """Of each channel, of pixels scaled to [0, 1]; empty where nothing is normalised."""
    std: tuple[float, ...]
    """Of each channel, of pixels scaled to [0, 1]; empty where nothing is normalised."""
    formula: str
    """How a pixel becomes input."""


class MeasuredScore(Settings):
    """What the network and its baseline scored."""

    name: str
    unit: str | None
    """``percent`` or ``dB``."""
    val_score: float | None
    test_score: float | None
    """Null without a test split."""
    baseline_val_score: float | None
    baseline_test_score: float | None


class Fingerprints(Settings):
    """What the network was when it was written: compared when it is rebuilt."""

    weights: str
    """Of the names and values of its tensors."""
    structure: str
    """Of its operations, its modules with their settings and hooks, and the user's own code in them."""
    made_by: str
    """The versions under which ``structure`` can be compared."""
    probe: tuple[float, ...]
    """A few of the values that it gives for seeded noise; empty where one is not finite."""


class NetworkPlan(Settings):
    """A pruned network without its weights."""

    format_version: int = FORMAT_VERSION
    study: str
    trial_id: str
    model: ModelChoice
    """The network before it was pruned."""
    residual: str
    """``independent`` or ``coupled``: how filters that meet in a sum were pruned."""
    dataset: DataChoice
    score: MeasuredScore
    input_shape: tuple[int, int, int]
    """Channels, height, width."""
    num_classes: int
    class_names: tuple[str, ...] = ()
    """In the order of the outputs; empty where the data set has no names."""
    preprocessing: Preprocessing | None
    """Null in the plan of an earlier version whose baseline does not tell."""
    params: int | None
    macs: int | None
    """Multiply-adds for one image."""
    num_filters: dict[str, int]
    """Layer (a group goes by its first convolution) -> filters before pruning; all that could be pruned."""
    num_kept: dict[str, int]
    """Layer -> filters that were kept."""
    keep_masks: dict[str, list[bool]]
    """Layer -> true for each of its original filters that is kept; a layer that is not in it is whole."""
    factors: dict[str, Factor] = Field(default_factory=dict)
    """Layer -> scheme and rank of the two layers that low rank put in its place; others are as the model has them."""
    fingerprints: Fingerprints | None = None
    """Null in plans of an earlier version."""

    def to_ship(self) -> NetworkPlan:
        """The plan for those who have another machine: of the data set the name alone, for its settings name paths."""
        return self.model_copy(update={"dataset": DataChoice(name=self.dataset.name)})

    def masks(self) -> dict[str, Tensor]:
        """The keep masks as bool tensors."""
        return {layer: torch.tensor(mask, dtype=torch.bool) for layer, mask in self.keep_masks.items()}


def plan_of(row: Mapping[str, Any], model: ModelChoice, baseline: Baseline, graph: Graph, state: State) -> NetworkPlan:
    """The plan of a trial's finished network; ``row`` is the trial's, with its study and id."""
    masks = {layer: mask.flags for layer, mask in state.cuts.items()}
    num_filters = {layer: group.num_filters for layer, group in graph.groups.items()}
    return _from_row(row, model, baseline, num_filters, masks, dict(state.factors))


def _from_row(
    row: Mapping[str, Any],
    model: ModelChoice,
    baseline: Baseline,
    num_filters: dict[str, int],
    masks: dict[str, list[bool]],
    factors: dict[str, Factor],
) -> NetworkPlan:
    scores = ("val_score", "test_score", "baseline_val_score", "baseline_test_score")
    return NetworkPlan(
        study=row["study"],
        trial_id=row["trial_id"],
        model=model,
        residual=row["residual"],
        dataset=DataChoice(
            name=row["dataset"], settings=json.loads(row["dataset_settings"]), guard=row.get("guard") or 0.0
        ),
        score=MeasuredScore(name=row["score_name"], unit=row["score_unit"], **{key: row[key] for key in scores}),
        input_shape=baseline.input_shape,
        num_classes=baseline.num_classes,
        class_names=baseline.class_names,
        preprocessing=preprocessing_of(baseline),
        params=row["params"],
        macs=row["macs"],
        num_filters=num_filters,
        num_kept={layer: sum(masks[layer]) if layer in masks else number for layer, number in num_filters.items()},
        keep_masks=masks,
        factors=factors,
    )


def preprocessing_of(baseline: Baseline) -> Preprocessing | None:
    """What the baseline says of its input; ``None`` where it was prepared before it said so."""
    if not baseline.pixels:
        return None
    if baseline.pixels == "float":
        return Preprocessing(pixel_range=None, mean=(), std=(), formula=AS_GIVEN)
    return Preprocessing(pixel_range=(0, 255), mean=baseline.mean, std=baseline.std, formula=FROM_PIXELS)


def parse_plan(text: str, where: str) -> NetworkPlan:
    """The plan in ``text``, of this format; ``where`` it was found begins an error. Raises :class:`InputError`."""
    try:
        version = json.loads(text)["format_version"]
        if version > FORMAT_VERSION:
            raise InputError(f"{where} has format version {version}; this raprune reads up to {FORMAT_VERSION}")
        return NetworkPlan.model_validate_json(text)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(where, error) from None


def read_plan(text: str, where: str, row: Mapping[str, Any], baseline: Baseline) -> NetworkPlan:
    """The plan in ``text``, of any format: what an early one does not tell, row and baseline do."""
    try:
        found = json.loads(text)
        if "format_version" in found:
            return parse_plan(text, where)
        masks = found["keep_masks"]
        num_filters = found.get("num_filters") or {layer: len(mask) for layer, mask in masks.items()}
        return _from_row(row, ModelChoice(**found["model"]), baseline, num_filters, masks, {})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(where, error) from None


def _damaged(where: str, error: Exception) -> InputError:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        return InputError(f"{where} is damaged: {place}: {first['msg']}")
    return InputError(f"{where} is damaged: {type(error).__name__}: {error}")
