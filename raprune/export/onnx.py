"""ONNX in the form that suits ONNX Runtime: one file, with gathers along channels in a channels-first layout.

The plan is in the model's metadata, under ``raprune_plan``; source lines and paths of this machine are removed.
"""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx

from raprune.artefact.plan import NetworkPlan
from raprune.artefact.rebuilding import HEADER_KEY
from raprune.engine.inputs import Inputs
from raprune.export.plain import first_accepted
from raprune.export.refusals import Refused, first_line, require
from raprune.export.running import Run
from raprune.export.sessions import open_session

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
INPUT, OUTPUT = "images", "logits"
PROVIDER = "CPUExecutionProvider"


def write_onnx(network: fx.GraphModule, example_BCHW: Tensor, file: Path, any_batch: bool = False) -> str | None:
    """Write ``network`` for batches of the shape of the example, or of ``any_batch`` size; raises :class:`Refused`.

    Returns a sentence if the network had to be rewritten.
    """
    require(PACKAGES)
    options: dict[str, Any] = {"dynamic_shapes": ({0: torch.export.Dim("batch")},)} if any_batch else {}

    def export(changed: fx.GraphModule) -> None:
        logging.disable(logging.WARNING)  # the exporter's packages log at length
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                torch.onnx.export(
                    changed, (example_BCHW,), file, dynamo=True, verbose=False, external_data=False,
                    input_names=[INPUT], output_names=[OUTPUT], **options,
                )  # fmt: skip
        except OSError:  # of the file, not of the network
            raise
        except Exception as error:  # whatever the exporter meets in a user's network
            raise Refused(f"the network cannot be exported to ONNX: {first_line(error)}") from error
        finally:
            logging.disable(logging.NOTSET)

    return first_accepted(network, export)


def tidy(file: Path, plan: NetworkPlan) -> None:
    """Put the plan into the model in ``file`` and remove what its exporter recorded about this machine."""
    import onnx

    model = onnx.load(file)
    for node in model.graph.node:
        del node.metadata_props[:]
        node.ClearField("doc_string")
    onnx.helper.set_model_props(model, {HEADER_KEY: plan.model_dump_json()})
    onnx.save(model, file)


def load(file: Path, threads: int, inputs: Inputs | None = None) -> Run:
    """The network in ``file``, images to logits, by ONNX Runtime on the processor."""
    session = open_session(file, PROVIDER, threads)

    def run(images_BCHW: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {INPUT: images_BCHW.contiguous().numpy()})[0])

    return run
