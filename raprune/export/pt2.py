"""``torch.export``: a program of torch's own operations, which ``torch.export.load`` runs without raprune.

Module names stay in it, source lines and paths of this machine do not. The plan lies in the archive as ``plan.json``.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import Tensor, fx

from raprune.artefact.plan import PLAN_FILE, NetworkPlan
from raprune.export.plain import first_accepted
from raprune.export.refusals import Refused, first_line
from raprune.export.running import Run


def write(network: fx.GraphModule, example_BCHW: Tensor, plan: NetworkPlan, file: Path) -> str | None:
    """Write ``network`` for any number of images like those of the example, of which there are two or more.

    Returns a sentence where the network had to be written otherwise. Raises :class:`Refused`.
    """

    def export(changed: fx.GraphModule) -> None:
        shapes = ({0: torch.export.Dim("batch")},)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                program = torch.export.export(changed, (example_BCHW,), dynamic_shapes=shapes)
                for node in program.graph.nodes:
                    node.meta.pop("stack_trace", None)
                with file.open("wb") as opened:
                    torch.export.save(program, opened, extra_files={PLAN_FILE: plan.model_dump_json()})
        except OSError:  # of the file, not of the network
            raise
        except Exception as error:  # whatever the exporter meets in a user's network
            raise Refused(f"torch.export does not take the network: {first_line(error)}") from error

    return first_accepted(network, export)


def load(file: Path, threads: int) -> Run:
    """The program in ``file``, images to logits."""
    torch.set_num_threads(threads)
    with file.open("rb") as opened:
        program = torch.export.load(opened).module()

    def run(images_BCHW: Tensor) -> Tensor:
        with torch.inference_mode():
            logits: Tensor = program(images_BCHW)
        return logits

    return run
