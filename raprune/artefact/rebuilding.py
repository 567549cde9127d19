"""Rebuilds a network from its weights and plan, in two files or in one, with the code of its model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open
from torch import Tensor, fx, nn

from raprune.artefact.plan import PLAN_FILE, Fingerprints, NetworkPlan, parse_plan
from raprune.engine.inputs import Inputs, using
from raprune.engine.workload import WEIGHTS_FILE, trace_model
from raprune.errors import InputError, naming
from raprune.identity import alike, made_here, of_structure, of_tensors, probe
from raprune.network.graph import Traced
from raprune.network.graph.ambient import plain_torch
from raprune.network.graph.module import held_in_eval, part_of
from raprune.network.lowrank.factorising import insert_factors
from raprune.network.surgery import build, cut_tensors
from raprune.network.weights import load_safetensors, save_safetensors
from raprune.registry import SCHEMES
from raprune.results import write_text
from raprune.study.allowing import AllowImport, check_imports
from raprune.study.wording import counted

HEADER_KEY = "raprune_plan"
"""Of a safetensors file's metadata: the plan as JSON."""


@dataclass(frozen=True)
class Opened:
    """A network and the plan that rebuilt it."""

    network: fx.GraphModule
    """In eval mode, on the CPU."""
    plan: NetworkPlan


def write_model(folder: Path, plan: NetworkPlan, network: nn.Module) -> None:
    """Write a trial's network, weights first, so that a plan in the folder always has its weights."""
    folder.mkdir(parents=True, exist_ok=True)
    plan = plan.model_copy(update={"fingerprints": _fingerprints(network, plan.input_shape)})
    save_safetensors(network.state_dict(), folder / WEIGHTS_FILE)
    write_text(folder / PLAN_FILE, plan.model_dump_json(indent=2) + "\n")


@plain_torch()
def open_network(file: Path, allow_import: AllowImport = (), inputs: Inputs | None = None) -> Opened:
    """The network in a safetensors file that has its plan in its header, as ``raprune export`` writes it.

    A file may name code to import, which would then run: ``allow_import`` are the import paths that it may
    (``package.module:function``), or True for whatever it names. Raises :class:`InputError` where the file has no plan,
    names another import path, or does not fit the model as it is today.
    """
    plan = plan_in(file)
    check_imports({"model": plan.model.name}, str(file), allow_import)
    with using(inputs) as inputs:
        inputs.import_for([plan.model.name])
        return Opened(standalone(rebuild(plan, trace_plan(plan, inputs), load_safetensors(file), str(file))), plan)


def plan_in(file: Path) -> NetworkPlan:
    """The plan in the header of a safetensors file. Raises :class:`InputError` where there is none."""
    with naming(file), safe_open(file, framework="pt") as opened:
        text = (opened.metadata() or {}).get(HEADER_KEY)
    if text is None:
        raise InputError(f"{file} has no {HEADER_KEY} in its header: raprune export --format safetensors writes one")
    return parse_plan(text, f"{file}: its {HEADER_KEY}")


def trace_plan(plan: NetworkPlan, inputs: Inputs) -> Traced:
    """The untouched network of a plan's model, with initial weights."""
    network = inputs.network(plan.model, plan.num_classes, plan.input_shape, fresh=True)
    return trace_model(network, plan.model, plan.input_shape, plan.residual)


def rebuild(plan: NetworkPlan, traced: Traced, tensors: Mapping[str, Tensor], where: str) -> nn.Module:
    """The pruned network from its complete state dict; ``where`` that was found begins an error."""
    masks = plan.masks()
    _check_masks(plan, traced, masks, where)
    expected = cut_tensors(traced.graph, traced.network.state_dict(), {}, masks)
    if plan.factors:
        expected = _with_factors(plan, build(traced, masks, expected), where)
    check_fit(where, tensors, expected, plan.model.name)
    network = build(traced, masks, tensors, plan.factors).eval()
    if plan.fingerprints is not None:
        _check_fingerprints(plan.fingerprints, network, tensors, plan, where)
    return network


def _fingerprints(network: nn.Module, input_shape: tuple[int, int, int]) -> Fingerprints:
    assert isinstance(network, fx.GraphModule)
    return Fingerprints(
        weights=of_tensors(network.state_dict()),
        structure=of_structure(network),
        made_by=made_here(),
        probe=tuple(probe(network.eval(), input_shape)),
    )


def _check_fingerprints(
    written: Fingerprints, network: nn.Module, tensors: Mapping[str, Tensor], plan: NetworkPlan, where: str
) -> None:
    """Whether a network is the one that was written: its weights to the bit, and what is computed with them."""
    if of_tensors(tensors) != written.weights:
        raise InputError(
            f"{where} has changed since it was written: its weights are not those of its plan; restore a copy of it"
        )
    assert isinstance(network, fx.GraphModule)
    comparable = written.made_by == made_here() and ":" in plan.model.name
    if comparable:
        same = written.structure == of_structure(network)
    else:
        same = not written.probe or alike(probe(network, plan.input_shape), list(written.probe))
    if not same:
        raise InputError(
            f"{where}: model {plan.model.name} now returns another network than the one that was pruned: the shapes "
            "of its weights are the same, but what is computed with them is not (activations, settings of "
            "modules, hooks or the forward); use the code with which it was pruned"
        )


def _with_factors(plan: NetworkPlan, network: nn.Module, where: str) -> dict[str, Tensor]:
    """The state dict, as far as its shapes go, of a network whose layers are factorised."""
    assert isinstance(network, fx.GraphModule)
    modules = dict(network.named_modules())
    for layer, factor in plan.factors.items():
        module = modules.get(layer)
        if factor.scheme not in SCHEMES.names() or not isinstance(module, nn.Conv2d | nn.Linear):
            raise InputError(
                f"{where}: its plan has {layer} factorised by {factor.scheme}, which the network of model "
                f"{plan.model.name} does not allow"
            )
    tensors: dict[str, Tensor] = insert_factors(network, plan.factors).state_dict()
    return tensors


def _check_masks(plan: NetworkPlan, traced: Traced, masks: Mapping[str, Tensor], where: str) -> None:
    for layer, mask in masks.items():
        group = traced.graph.groups.get(layer)
        if group is None or group.num_filters != mask.numel():
            has = "no such layer" if group is None else f"{group.num_filters}"
            raise InputError(
                f"{where}: its plan has {counted(mask.numel(), 'filter')} for {layer}, but {has} in the network of "
                f"model {plan.model.name}"
            )


def check_fit(where: str, found: Mapping[str, Tensor], expected: Mapping[str, Tensor], model: str) -> None:
    """Whether weights are those of the network that the model gives today; raises :class:`InputError`."""
    for name in sorted({*found, *expected}):
        shapes = [tuple(side[name].shape) if name in side else "nothing" for side in (found, expected)]
        if shapes[0] != shapes[1]:
            raise InputError(f"{where}: {name} is {shapes[0]}, but {shapes[1]} in the network of model {model}")


def standalone(network: nn.Module) -> fx.GraphModule:
    """``network`` with a graph that does not know who traced it: it can be stored whole and loaded elsewhere.

    It still holds in eval mode what it held before.
    """
    assert isinstance(network, fx.GraphModule)
    graph = fx.Graph()
    graph.output(graph.graph_copy(network.graph, {}))
    made = part_of(network, graph) if held_in_eval(network) else fx.GraphModule(network, graph)
    return made.eval()
