"""The formats by name. To add one: a file like theirs, a line here, its part of docs/export.md."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, fx

from raprune.artefact.plan import NetworkPlan
from raprune.export import onnx, pt2, safetensors
from raprune.export.running import Run


@dataclass(frozen=True)
class Format:
    """How a network is written and loaded again."""

    write: Callable[[fx.GraphModule, Tensor, NetworkPlan, Path], str | None]
    """Network, an example input of two images, plan, file; returns a sentence that its user should read, if any."""
    load: Callable[[Path, int], Run]
    """File, processor threads."""
    loaded_by: str
    """What its user writes to load it."""


FORMATS = {
    "pt2": Format(pt2.write, pt2.load, "torch.export.load({file!r}).module()"),
    "onnx": Format(onnx.write, onnx.load, "onnxruntime.InferenceSession({file!r})"),
    "safetensors": Format(
        safetensors.write, safetensors.load, "raprune.artefact.open_network(Path({file!r}){allowed}).network"
    ),
}
