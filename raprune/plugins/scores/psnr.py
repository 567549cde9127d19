"""Peak signal-to-noise ratio of image-to-image networks, in decibels, over all values of a split at once.

10 log10(255^2 n / e) for n values whose squared errors in the 8-bit output sum to e. Departures from the usual mean of
per-image ratios: errors are pooled, which is additive and bounded; and e is at least 1, so that a perfect output has a
finite score.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from raprune.errors import InputError
from raprune.registry import SCORES, Settings

PEAK = 255


@SCORES.register("psnr")
class Psnr:
    """Peak signal-to-noise ratio of the output, in [0, 1] and rounded to 8 bits, against the target image, dB."""

    unit = "dB"
    labels = "target"

    def __init__(self, settings: Settings) -> None:
        del settings

    def loss(self, outputs_BCHW: Tensor, labels_BCHW: Tensor) -> Tensor:
        """Mean squared error of the output against the target scaled to [0, 1]."""
        _check_sizes(outputs_BCHW, labels_BCHW)
        return F.mse_loss(outputs_BCHW, labels_BCHW.to(outputs_BCHW.dtype) / PEAK)

    def counts(self, outputs_BCHW: Tensor, labels_BCHW: Tensor) -> Tensor:
        """(1,) int64: the sum of squared errors, in 8-bit grey levels."""
        return _squared_errors(outputs_BCHW, labels_BCHW).sum()[None]

    def whole(self, labels_BCHW: Tensor) -> Tensor:
        """(1,) int64: number of values."""
        return torch.tensor([labels_BCHW.numel()])

    def value(self, counts: Tensor, whole: Tensor) -> float:
        """Decibels."""
        return 10 * math.log10(PEAK**2 * int(whole[0]) / max(1, int(counts[0])))

    def highest(self, counts: Tensor, seen: Tensor, whole: Tensor) -> float:
        """The score if every value not yet seen were right."""
        del seen
        return self.value(counts, whole)

    def quantum(self, whole: Tensor) -> float:
        """0: the score's steps are too fine to matter for a bound."""
        del whole
        return 0.0

    def chance(self, labels_BCHW: Tensor, num_classes: int) -> float:
        """The score of always answering the mean grey of all targets, dB."""
        del num_classes
        how_often = torch.bincount(labels_BCHW.flatten(), minlength=PEAK + 1).cpu()
        greys = torch.arange(PEAK + 1)
        mean = round(int((how_often * greys).sum()) / labels_BCHW.numel())
        return self.value((how_often * (greys - mean) ** 2).sum()[None], self.whole(labels_BCHW))

    def margins(self, outputs_BCHW: Tensor, labels_BCHW: Tensor) -> Tensor:
        """(B,): minus the mean squared error of each image, in 8-bit grey levels."""
        return -_squared_errors(outputs_BCHW, labels_BCHW).float().mean((1, 2, 3))

    def standard_error(self, score: float, num_images: int) -> float | None:
        """Unknown: errors differ from image to image."""
        del score, num_images
        return None


def _squared_errors(outputs_BCHW: Tensor, labels_BCHW: Tensor) -> Tensor:
    """int64 errors of the output as an 8-bit image; NaN counts as the value farthest from its target."""
    _check_sizes(outputs_BCHW, labels_BCHW)
    eight_bit_BCHW = (outputs_BCHW.float().nan_to_num(0.0).clamp(0, 1) * PEAK).round().long()
    targets_BCHW = labels_BCHW.long()
    errors_BCHW = (eight_bit_BCHW - targets_BCHW) ** 2
    return errors_BCHW.where(~outputs_BCHW.isnan(), torch.maximum(targets_BCHW, PEAK - targets_BCHW) ** 2)


def _check_sizes(outputs_BCHW: Tensor, labels_BCHW: Tensor) -> None:
    if outputs_BCHW.shape != labels_BCHW.shape:
        output, target = ("x".join(map(str, tensor.shape)) for tensor in (outputs_BCHW, labels_BCHW))
        raise InputError(f"psnr needs outputs of the target's size; the network returns {output} for targets {target}")
