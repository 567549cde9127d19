"""Whether network, data set and score fit one another."""

from __future__ import annotations

from torch import nn

from raprune.errors import InputError
from raprune.network.graph import Traced
from raprune.plugins.datasets.base import Splits
from raprune.plugins.scores.base import Score, num_columns
from raprune.study.schema import Choice

LABELS = {
    "image": "one class per image", "pixel": "one class per pixel", "target": "an image to reproduce",
    "boxes": "boxes around objects",
}  # fmt: skip


def score_problem_of(
    network: nn.Module, traced: Traced, splits: Splits, choice: Choice, score: Score
) -> tuple[str, InputError] | None:
    """The key and the error where network, data and score do not fit one another; ``None`` where they do."""
    kind, labels = splits.val.kind, splits.val.labels_B
    if score.labels != kind:
        return "score", InputError(f"{choice.name} needs {LABELS[score.labels]}; the data set has {LABELS[kind]}")
    family, wanted_family = getattr(network, "detection_head", None), getattr(score, "head", None)
    if None not in (family, wanted_family) and family != wanted_family:
        return "score", InputError(f"{choice.name} must have head: {family} for this network; got {wanted_family}")
    last = next(node for node in traced.network.graph.nodes if node.op == "output")
    shape = tuple(last.all_input_nodes[0].meta["tensor_meta"].shape)
    wanted = (splits.num_classes, *labels.shape[1:])
    if kind == "target":
        wanted = tuple(labels.shape[1:])
    elif kind == "boxes":
        wanted = (*shape[1:2], num_columns(score, splits.num_classes) or shape[-1])
    if shape[1:] != wanted:
        return "model", InputError(f"returns shape {shape[1:]} per image; the data set's labels need {wanted}")
    return None
