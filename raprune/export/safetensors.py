"""Weights alone, with the plan in the file's header: what :func:`raprune.artefact.open_network` opens."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, fx

from raprune.artefact.plan import NetworkPlan
from raprune.artefact.rebuilding import HEADER_KEY, open_network
from raprune.engine.inputs import Inputs
from raprune.export.running import Run
from raprune.network.weights import save_safetensors


def write(network: fx.GraphModule, example_BCHW: Tensor, plan: NetworkPlan, file: Path) -> None:
    """Write the weights of ``network``; they fit any number of images."""
    del example_BCHW
    save_safetensors(network.state_dict(), file, {HEADER_KEY: plan.model_dump_json(), "format": "pt"})


def load(file: Path, threads: int, inputs: Inputs | None = None) -> Run:
    """The network in ``file``, rebuilt by raprune."""
    torch.set_num_threads(threads)
    network = open_network(file, allow_import=True, inputs=inputs).network  # we have just written it

    def run(images_BCHW: Tensor) -> Tensor:
        with torch.inference_mode():
            logits: Tensor = network(images_BCHW)
        return logits

    return run
