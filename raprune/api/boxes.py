"""Boxes and detection networks of a program, as torchvision has them.

Shapes: N boxes of an image, A anchors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from raprune.errors import InputError
from raprune.plugins.datasets.base import BOX_COLUMNS, Split
from raprune.plugins.models.detector import Detector
from raprune.plugins.models.torchvision_detection import TWO_STAGES

FAMILIES = {"SSD": "ssd", "RetinaNet": "retinanet", "FCOS": "fcos"}
"""torchvision's classes of one-stage detection networks -> ``head`` of ``mean_average_precision``."""
TARGET = (
    "must be a mapping with boxes (N, 4), left, top, right, bottom in pixels, and labels (N,), as torchvision has it, "
    f"or float32 (N, 6) with the columns {', '.join(BOX_COLUMNS)}"
)


def family_of(model: nn.Module) -> str | None:
    """The family of a detection network of torchvision; ``None`` for any other. Refuses those of two stages."""
    if not type(model).__module__.startswith("torchvision.models.detection."):
        return None
    name = type(model).__name__
    if name not in FAMILIES and hasattr(model, "roi_heads"):
        raise InputError(f"model: {name} {TWO_STAGES}; with one stage there are {', '.join(FAMILIES)}")
    return FAMILIES.get(name)


def as_rows(model: Any, family: str, input_shape: tuple[int, int, int]) -> Detector:
    """A one-stage network of torchvision as one that returns a row for each anchor; it shares the network's parts."""
    for module in list(model.modules()):
        for child, part in module.named_children():
            if type(part).__name__ == "FrozenBatchNorm2d":
                setattr(module, child, _thawed(part))
    try:
        return Detector(model.backbone, model.head, model.anchor_generator, family, input_shape).eval()
    except (RuntimeError, ValueError, ZeroDivisionError) as error:
        size = "x".join(map(str, input_shape[1:]))
        raise InputError(f"model: {type(model).__name__} does not take images of {size}: {error}") from None


def _thawed(frozen: Any) -> nn.BatchNorm2d:
    """A batch norm that computes the same in eval mode, and is trained."""
    norm = nn.BatchNorm2d(len(frozen.weight), eps=frozen.eps)
    norm.load_state_dict({**frozen.state_dict(), "num_batches_tracked": torch.tensor(0)})
    return norm.eval()


def normalised(split: Split, transform: Any) -> Split:
    """Float images, which torchvision's network would normalise itself, as its ``transform`` does."""
    images_BCHW, statistics = split.images_BCHW, (transform.image_mean, transform.image_std)
    mean, std = (images_BCHW.new_tensor(values)[:, None, None] for values in statistics)
    return Split((images_BCHW - mean) / std, split.labels_B)


def box_rows(target: Any, size: tuple[int, int], what: str) -> Tensor:
    """(N, 6): the boxes of an image of ``size`` (H, W), cut at its edges; those without an area there are left out.

    Raises :class:`InputError` that begins with ``what``.
    """
    if isinstance(target, Tensor) and target.dim() == 2 and target.shape[1] == len(BOX_COLUMNS):
        return target.detach().cpu().float()
    if not isinstance(target, Mapping) or not {"boxes", "labels"} <= target.keys():
        got = f"a mapping of {', '.join(map(str, target))}" if isinstance(target, Mapping) else _kind(target)
        raise InputError(f"{what}: its label {TARGET}; got {got}")
    boxes_N4, labels_N = (_as_numbers(target[key], f"{what}: {key}") for key in ("boxes", "labels"))
    boxes_N4 = boxes_N4.reshape(0, 4) if boxes_N4.numel() == 0 else boxes_N4
    if boxes_N4.dim() != 2 or boxes_N4.shape[1] != 4:
        raise InputError(f"{what}: boxes must be (N, 4), left, top, right, bottom; got {tuple(boxes_N4.shape)}")
    crowd_N = _as_numbers(target.get("iscrowd", torch.zeros(len(boxes_N4))), f"{what}: iscrowd")
    for key, values_N in (("labels", labels_N), ("iscrowd", crowd_N)):
        if values_N.shape != (len(boxes_N4),):
            raise InputError(f"{what}: {key} must be ({len(boxes_N4)},), one per box; got {tuple(values_N.shape)}")
    for box in boxes_N4.tolist():
        if not all(map(math.isfinite, box)) or box[0] >= box[2] or box[1] >= box[3]:
            shown = [round(value, 2) for value in box]
            raise InputError(f"{what} has the box {shown}: left < right and top < bottom, in pixels")
    height, width = size
    edges_N4 = (boxes_N4 / boxes_N4.new_tensor([width, height, width, height])).clamp(0, 1)
    rows_N6 = torch.cat([labels_N[:, None], edges_N4, crowd_N[:, None]], 1)
    return rows_N6[(edges_N4[:, :2] < edges_N4[:, 2:]).all(1)].float()


def _as_numbers(values: Any, what: str) -> Tensor:
    try:
        return torch.as_tensor(values).detach().cpu().double()
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{what} must be numbers; got {_kind(values)}") from error


def _kind(value: Any) -> str:
    return f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
