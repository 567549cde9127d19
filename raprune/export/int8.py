"""8-bit ONNX: static quantisation by ``onnxruntime.quantization``, calibrated on training images.

Weights are quantised by output channel, activations by tensor, both to signed 8 bits, as QDQ nodes: what ONNX Runtime
advises to begin with on processors. A range is the smallest and the largest value seen.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from raprune.export.checking import Images
from raprune.export.onnx import INPUT
from raprune.export.refusals import Refused, first_line, require
from raprune.plugins.datasets.base import Splits
from raprune.study.seeds import seed_for

CALIBRATION_IMAGES = 256
"""Training images whose activations set the ranges: a seeded choice, not augmented."""


class Calibration:
    """Supplies calibration batches to onnxruntime until there are no more."""

    def __init__(self, images: Images, splits: Splits, batch_size: int) -> None:
        generator = torch.Generator().manual_seed(seed_for(0, "calibration"))
        self.chosen = torch.randperm(len(splits.train), generator=generator)[:CALIBRATION_IMAGES]
        self._batches = self._make(images, splits, batch_size)

    def _make(self, images: Images, splits: Splits, size: int) -> Iterator[dict[str, np.ndarray]]:
        for index in self.chosen.split(size):  # type: ignore[no-untyped-call]
            yield {INPUT: images.input(splits.train.at(index)).contiguous().numpy()}

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next batch; ``None`` after the last."""
        return next(self._batches, None)


def quantise(float_file: Path, images: Images, batch_size: int, file: Path) -> int:
    """The ONNX model in ``float_file`` with 8-bit weights and activations; returns the number of images used.

    Raises :class:`Refused`.
    """
    require(("onnx", "onnxruntime"))
    if images.splits is None:
        raise Refused(f"int8 needs the study's training images: {images.missing}")
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    calibration = Calibration(images, images.splits, batch_size)
    logging.disable(logging.WARNING)  # it asks for the step that is done here
    try:
        with warnings.catch_warnings(), TemporaryDirectory(prefix="raprune-int8-") as folder:
            warnings.simplefilter("ignore")
            prepared = Path(folder) / "prepared.onnx"
            quant_pre_process(float_file, prepared, skip_symbolic_shape=True)
            quantize_static(
                prepared, file, calibration, quant_format=QuantFormat.QDQ, per_channel=True,
                activation_type=QuantType.QInt8, weight_type=QuantType.QInt8,
            )  # fmt: skip
    except Exception as error:  # whatever it does not know in a user's network
        raise Refused(f"onnxruntime does not quantise the network: {first_line(error)}") from error
    finally:
        logging.disable(logging.NOTSET)
    return len(calibration.chosen)
