"""ONNX, in one file that ONNX Runtime runs on processors, also in 8 bits (``raprune/export/int8.py``)."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, fx

from raprune.artefact.plan import NetworkPlan
from raprune.engine.inputs import Inputs
from raprune.export import int8, onnx
from raprune.export.checking import Images
from raprune.export.contract import QuantisedFormat
from raprune.export.running import Run
from raprune.registry import FORMATS


@FORMATS.register("onnx")
class Onnx(QuantisedFormat):
    """An ONNX model, which ONNX Runtime and others run without raprune and without PyTorch."""

    loaded_by = "onnxruntime.InferenceSession({file!r})"

    def write(self, network: fx.GraphModule, example_BCHW: Tensor, plan: NetworkPlan, file: Path) -> str | None:
        note = onnx.write_onnx(network, example_BCHW, file, any_batch=True)
        onnx.tidy(file, plan)
        return note

    def load(self, file: Path, threads: int, inputs: Inputs) -> Run:
        del inputs
        return onnx.load(file, threads)

    def quantise(self, float_file: Path, images: Images, batch_size: int, plan: NetworkPlan, file: Path) -> int:
        number = int8.quantise(float_file, images, batch_size, file)
        onnx.tidy(file, plan)
        return number
