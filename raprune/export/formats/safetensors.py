"""Weights alone, with the plan in the file's header: what :func:`raprune.artefact.open_network` opens."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, fx

from raprune.artefact.plan import NetworkPlan
from raprune.artefact.rebuilding import HEADER_KEY, open_network
from raprune.engine.inputs import Inputs
from raprune.export.contract import Format
from raprune.export.running import Run
from raprune.network.weights import save_safetensors
from raprune.registry import FORMATS


@FORMATS.register("safetensors")
class Safetensors(Format):
    """The weights, with the plan by which raprune builds the network again."""

    loaded_by = "raprune.artefact.open_network(Path({file!r}){allowed}).network"

    def write(self, network: fx.GraphModule, example_BCHW: Tensor, plan: NetworkPlan, file: Path) -> str | None:
        del example_BCHW  # weights fit any number of images
        save_safetensors(network.state_dict(), file, {HEADER_KEY: plan.model_dump_json(), "format": "pt"})
        return None

    def load(self, file: Path, threads: int, inputs: Inputs) -> Run:
        torch.set_num_threads(threads)
        network = open_network(file, allow_import=True, inputs=inputs).network  # we have just written it

        def run(images_BCHW: Tensor) -> Tensor:
            with torch.inference_mode():
                logits: Tensor = network(images_BCHW)
            return logits

        return run
