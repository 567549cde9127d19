"""Reopens a pruned network in another program: from its trial's files and the code of the original network."""

from __future__ import annotations

import warnings
from os import PathLike
from pathlib import Path

from torch import nn

from raprune.api.network import own_copy
from raprune.artefact.plan import PLAN_FILE, NetworkPlan, parse_plan
from raprune.artefact.rebuilding import open_network, plan_in, rebuild, standalone, trace_plan
from raprune.engine.inputs import Inputs
from raprune.engine.workload import WEIGHTS_FILE
from raprune.errors import InputError, translated
from raprune.network.graph.ambient import plain_torch
from raprune.network.weights import load_safetensors
from raprune.registry import is_given
from raprune.results import read_text
from raprune.system.store import given_results, reading


@plain_torch()
@translated()
def load_pruned(path: str | PathLike[str], model: nn.Module) -> nn.Module:
    """The network that :func:`prune` left in a trial's folder, or in the ``model`` folder inside, which is enough.

    A safetensors file written by :meth:`Pruned.export` works as well. ``model`` is a network built by the code that was
    pruned; its weights do not matter, and it is not changed. Raises :class:`InputError` where files are missing or
    ``model`` is another network. The plan of an earlier version records only shapes: a warning says so.
    """
    place = reading(given_results(path))
    if place.is_file():
        plan = plan_in(place)
        _warn_of_old(plan, place)
        with _with_model(plan, place, model) as inputs:
            return open_network(place, inputs=inputs).network
    place = place / "model" if (place / "model").is_dir() else place
    plan_file, weights_file = place / PLAN_FILE, place / WEIGHTS_FILE
    for file in (plan_file, weights_file):
        if not file.is_file():
            raise InputError(f"{file} is missing: name the folder of a trial that prune() ran, or its model folder")
    plan = parse_plan(read_text(plan_file), str(plan_file))
    _warn_of_old(plan, plan_file)
    with _with_model(plan, plan_file, model) as inputs:
        return standalone(rebuild(plan, trace_plan(plan, inputs), load_safetensors(weights_file), str(weights_file)))


def _warn_of_old(plan: NetworkPlan, file: Path) -> None:
    if plan.fingerprints is None:
        warnings.warn(
            f"{file} is from an earlier version: it records the shapes of the network, but not what is computed with "
            "them; make sure that model is the network that was pruned",
            stacklevel=3,
        )


def _with_model(plan: NetworkPlan, file: Path, model: nn.Module) -> Inputs:
    """``model`` in the place of the network that was given."""
    if not is_given(plan.model.name):
        raise InputError(f"{file}: its network is of model {plan.model.name}, not one passed to prune()")
    inputs = Inputs()
    inputs.networks[plan.model.settings["digest"]] = own_copy(model)
    return inputs
