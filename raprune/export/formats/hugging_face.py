"""A folder like those on the Hugging Face hub: weights, configuration, a model card, and a module that loads them.

``modeling.py`` has the network's forward as calls of torch's own operations, written out by ``torch.export``, so it
needs torch and safetensors alone: neither raprune nor the code of the model. It computes what evaluation mode computes.
"""

from __future__ import annotations

import json
import re
import runpy
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx

from raprune.artefact.plan import PLAN_FILE, NetworkPlan
from raprune.engine.inputs import Inputs
from raprune.engine.workload import WEIGHTS_FILE
from raprune.export.card import card
from raprune.export.contract import Format
from raprune.export.plain import first_accepted
from raprune.export.refusals import Refused, first_line
from raprune.export.running import Run
from raprune.network.weights import save_safetensors
from raprune.registry import FORMATS

KNOWN = {"inf", "nan", "NoneType", "torch", "device", "fx_pytree", "pytree"}
"""Names that the code of an exported graph may use."""
TOLD = {"study", "trial_id", "model", "score", "params", "macs", "num_filters", "num_kept"}
"""What the configuration repeats of the plan."""
MODELING = '''\
"""The pruned network {trial} of the study {study}, as raprune wrote it. Needs torch and safetensors.

    network = load(folder)      # in evaluation mode, on the CPU
    logits = network(images)    # float32 (images, {shape}), normalised as config.json says
"""

from math import inf, nan  # noqa: F401
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import device  # noqa: F401

BUFFERS = {buffers}


class PrunedNetwork(torch.nn.Module):
    """Computes what the network computes in evaluation mode; its parameters have the names of model.safetensors."""

    def __init__(self, tensors):
        super().__init__()
        for name, tensor in tensors.items():
            *path, last = name.split(".")
            module = self
            for part in path:
                if part not in module._modules:
                    module.add_module(part, torch.nn.Module())
                module = module._modules[part]
            if name in BUFFERS:
                module.register_buffer(last, tensor)
            else:
                module.register_parameter(last, torch.nn.Parameter(tensor))

    def forward(self, images):
        tensors = {{**dict(self.named_parameters()), **dict(self.named_buffers())}}
{body}

def load(folder):
    """The network whose model.safetensors is in ``folder``, which is that of this file."""
    return PrunedNetwork(load_file(Path(folder) / "{weights}")).eval()
'''


@FORMATS.register("hugging_face")
class HuggingFace(Format):
    """A folder like those on the Hugging Face hub, which needs torch and safetensors but not raprune."""

    is_folder = True
    loaded_by = "runpy.run_path({file!r} + '/modeling.py')['load']({file!r})"

    def write(self, network: fx.GraphModule, example_BCHW: Tensor, plan: NetworkPlan, file: Path) -> str | None:
        def export(changed: fx.GraphModule) -> None:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    shapes = ({0: torch.export.Dim("batch")},)
                    program = torch.export.export(changed, (example_BCHW,), dynamic_shapes=shapes)
            except Exception as error:  # whatever the exporter meets in a user's network
                raise Refused(f"torch.export does not take the network: {first_line(error)}") from error
            _write(program, plan, file)

        return first_accepted(network, export)

    def describe(self, file: Path, plan: NetworkPlan, row: Mapping[str, Any]) -> None:
        (file / "README.md").write_text(card(plan, row), encoding="utf-8")

    def load(self, file: Path, threads: int, inputs: Inputs) -> Run:
        del inputs
        torch.set_num_threads(threads)
        network = runpy.run_path(str(file / "modeling.py"))["load"](str(file))  # we have just written it

        def run(images_BCHW: Tensor) -> Tensor:
            with torch.inference_mode():
                logits: Tensor = network(images_BCHW)
            return logits

        return run


def _write(program: torch.export.ExportedProgram, plan: NetworkPlan, folder: Path) -> None:
    held: dict[str, Any] = {**program.constants, **program.state_dict}
    kinds = torch.export.graph_signature.InputKind
    names: dict[str, str] = {}
    buffers = set()
    for spec in program.graph_signature.input_specs:
        if spec.kind == kinds.USER_INPUT:
            continue
        if spec.target is None or not isinstance(held.get(spec.target), Tensor):
            raise Refused(f"its graph has an input of kind {spec.kind.name}, which no file of tensors holds")
        names[str(spec.arg.name)] = spec.target
        if spec.kind != kinds.PARAMETER:
            buffers.add(spec.target)
    tensors = {name: held[name].detach().clone() for name in names.values()}
    save_safetensors(tensors, folder / WEIGHTS_FILE, {"format": "pt"})
    text = MODELING.format(
        trial=_plain(plan.trial_id), study=_plain(plan.study), shape=", ".join(map(str, plan.input_shape)),
        buffers=repr(sorted(buffers)), body=_body(program, names), weights=WEIGHTS_FILE,
    )  # fmt: skip
    (folder / "modeling.py").write_text(text, encoding="utf-8")
    (folder / PLAN_FILE).write_text(plan.model_dump_json(indent=2) + "\n", encoding="utf-8")
    for name, content in (("config.json", _config(plan)), ("preprocessor_config.json", _preprocessor(plan))):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _body(program: torch.export.ExportedProgram, names: Mapping[str, str]) -> str:
    """The lines of the forward: first the tensors by the names of the graph, then its operations."""
    code = program.graph_module.graph.python_code("self")
    if other := set(code.globals) - KNOWN:
        raise Refused(f"its graph uses {', '.join(sorted(other))}, which torch alone does not have")
    head, _, lines = code.src.strip().partition("\n")
    (given,) = set(program.graph_signature.user_inputs)
    loaded = [f"tensors[{name!r}]" for name in names.values()]
    bound = [f"    {argument} = {value}" for argument, value in zip(names, loaded, strict=True)]
    if given != "images":
        bound.append(f"    {given} = images")
    assert head.startswith("def forward(self")
    body = "\n".join([*bound, lines.rstrip()])
    start, found, result = body.rpartition("return (")
    assert found
    return "\n".join(f"    {line}".rstrip() for line in f"{start}return {result.rstrip(',)')}".splitlines()) + "\n"


def _plain(name: str) -> str:
    """A name of a results folder, which may be anybody's, without anything that would end a docstring."""
    return re.sub(r"[^\w .-]", "", name)


def _config(plan: NetworkPlan) -> dict[str, Any]:
    names = dict(enumerate(plan.class_names))
    return {
        "architectures": ["PrunedNetwork"],
        "model_type": "raprune",
        "num_labels": plan.num_classes,
        **({"id2label": names, "label2id": {name: number for number, name in names.items()}} if names else {}),
        "num_channels": plan.input_shape[0],
        "image_size": list(plan.input_shape[1:]),
        "raprune": plan.model_dump(mode="json", include=TOLD),
    }


def _preprocessor(plan: NetworkPlan) -> dict[str, Any]:
    """In the words of Hugging Face's image processors; without pixels there is nothing to do."""
    said, (_, height, width) = plan.preprocessing, plan.input_shape
    if said is None or said.pixel_range is None:
        return {"do_resize": False, "do_rescale": False, "do_normalize": False}
    return {
        "do_resize": False,
        "size": {"height": height, "width": width},
        "do_rescale": True,
        "rescale_factor": 1 / said.pixel_range[1],
        "do_normalize": True,
        "image_mean": list(said.mean),
        "image_std": list(said.std),
    }
