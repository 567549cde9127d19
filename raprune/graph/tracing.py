"""A network to the form in which raprune runs it: a ``torch.fx`` graph that surgery can make smaller.

The traced network has the function, the parameters and the names of the original. Reshapes that hold fixed numbers
become calls that do not, and :class:`Align` modules stand where channels may have to be moved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from raprune.errors import InputError
from raprune.graph.ambient import plain_torch
from raprune.graph.checks import check_network
from raprune.graph.collect import collect
from raprune.graph.layout import lay_out
from raprune.graph.mending import follow_channels, out_of_place
from raprune.graph.modes import EVAL_IMAGES, TRAINING_IMAGES, compare, follow_twins
from raprune.graph.module import Network
from raprune.graph.network import Traced
from raprune.graph.outputs import choose_output
from raprune.graph.recording import Recorder, said_of
from raprune.graph.rules import rule_of
from raprune.graph.sameness import Behaviour, behaviour, check_same, check_state, differing_buffers, undisturbed
from raprune.graph.walk import Walk
from raprune.registry import nearest

Choose = Callable[[Any], Tensor]


@plain_torch()
def trace(
    network: nn.Module,
    input_shape: tuple[int, ...],
    *,
    residual: str = "independent",
    whole: Iterable[str] = (),
    output: str | int | None = None,
) -> Traced:
    """Trace ``network`` and find its prunable groups, for images of ``input_shape`` (C, H, W).

    ``residual`` says whether convolutions that meet in a sum have keep masks of their own (``independent``: what is cut
    is scattered into the sum) or one together (``coupled``: a smaller network). Modules and nodes named in ``whole``
    are not looked into: what they read stays. So it is with modules that cannot be traced; ``Graph.whole`` says why.
    ``output`` names the tensor to take where the network gives several. The traced network shares its modules with
    ``network``, in eval mode; what works in place no longer does. It trains as ``network`` does: modules and parameters
    that are frozen stay so. Raises :class:`InputError` naming what cannot be traced or followed.
    """
    if residual not in ("independent", "coupled"):
        raise ValueError(f"residual must be independent or coupled; got {residual!r}")
    check_network(network)
    left_whole = frozenset(whole)
    images = _example(network, input_shape)
    held, trainable = _training_mode(network)
    try:
        expected = _expected(network, images, input_shape, output)
    except InputError:  # a forward may name the number of images, which is two wherever shapes are shown
        images = images[:EVAL_IMAGES]
        expected = _expected(network, images, input_shape, output)
    check_state(network, expected)
    left: dict[str, str] = {}
    while True:
        module = _record(network, images, left_whole, left, output)
        _check_names(module, left_whole)
        out_of_place(module)
        _propagate(module, images[:EVAL_IMAGES])
        follow_channels(module)
        module.recompile()
        module._held_in_eval = held
        found = behaviour(module, images, lambda given: given)
        owners = {name.rpartition(".")[0] for name in differing_buffers(found, expected)} - {"", *left}
        if not owners:
            break
        left |= dict.fromkeys(owners, "its forward changes its buffers")
    check_same(found, expected, lambda: _expected(network, images, input_shape, output))
    _propagate(module, images[:EVAL_IMAGES])
    walk = Walk(module, residual, left_whole | frozenset(left))
    walk.run(rule_of)
    graph = collect(walk)
    graph.whole.update(_inside(network, left))
    if left and not graph.groups:
        raise InputError("nothing can be pruned:\n  " + "\n  ".join(f"{name}: {why}" for name, why in left.items()))
    module.delete_all_unused_submodules()
    module.graph.lint()
    module.recompile()
    lay_out(module, graph, graph.kept({}))
    network.eval()
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name in trainable)
    return Traced(module.eval(), graph)


def _training_mode(network: nn.Module) -> tuple[frozenset[str], frozenset[str]]:
    """Modules that stay in eval mode when ``network`` trains, and parameters that are trained."""
    network.eval()
    if stay := [name for name, module in network.named_modules() if module.training]:
        raise InputError(
            f"{', '.join(stay[:8])}: still in training mode after eval(); scores would be of another network"
        )
    network.train()
    held = frozenset(name for name, module in network.named_modules() if not module.training)
    return held, frozenset(name for name, parameter in network.named_parameters() if parameter.requires_grad)


def _expected(network: nn.Module, images: Tensor, input_shape: tuple[int, ...], output: str | int | None) -> Behaviour:
    """What the network itself does."""
    try:
        return behaviour(network, images, lambda given: choose_output(given, output))
    except InputError:
        _check_same_outputs(network, images, output)
        raise
    except Exception as error:  # nor what it raises on images that it cannot take
        mode = " in training" if network.training else ""
        raise InputError(f"the network cannot take images of {tuple(input_shape)}{mode}: {said_of(error)}") from error


def _check_same_outputs(network: nn.Module, images: Tensor, output: str | int | None) -> None:
    """Raise :class:`InputError` for a network that gives more in training than in eval mode."""
    import inspect

    with undisturbed(network), torch.no_grad():
        choose_output(network.eval()(images), output)
    known = inspect.signature(type(network).__init__).parameters
    hint = (
        ": build it with aux_logits=False" if "aux_logits" in known else ", such as auxiliary heads: build it without"
    )
    raise InputError(f"the network gives other outputs in training than in eval mode{hint}")


def _record(
    network: nn.Module, images: Tensor, left_whole: frozenset[str], left: dict[str, str], output: str | int | None
) -> Network:
    """The network as a graph that follows the mode; ``left`` gets the modules that cannot be looked into."""
    while True:
        before = len(left)
        with undisturbed(network):
            runs = (False, EVAL_IMAGES), (True, len(images))
            graph, training = (
                _symbolic(network.train(mode), images[:number], left_whole, left, output) for mode, number in runs
            )
            if len(left) > before:
                continue
            differ = compare(network, graph, training)
            if not differ:
                module = Network(network, graph)
                follow_twins(module, training)
                break
            if "" in differ:
                raise InputError(f"the network runs differently in training: {differ['']}")
            left |= {name: f"{type(network.get_submodule(name)).__name__}: {why}" for name, why in differ.items()}
    for name in set(left) - {str(node.target) for node in graph.nodes}:
        del left[name]
    module.graph.eliminate_dead_code()
    module.delete_all_unused_submodules()
    module.recompile()
    return module


def _symbolic(
    network: nn.Module, images: Tensor, whole: frozenset[str], left: dict[str, str], output: str | int | None
) -> fx.Graph:
    try:
        return Recorder(whole, left).record_run(network, images, lambda given: choose_output(given, output))
    except InputError:
        raise
    except Exception as error:  # what a user's forward may raise under tracing is not ours to list
        others = "".join(f"\n  {name}: {why}" for name, why in left.items())
        raise InputError(
            f"the network cannot be traced: {said_of(error)}\nput what a trace cannot hold into a module of its own, "
            f"which is then left whole{others and '. Left whole so far:'}{others}"
        ) from error


def _inside(network: nn.Module, left: dict[str, str]) -> dict[str, str]:
    """The convolutions of modules that are left whole, with why they are."""
    return {
        f"{name}.{inner}" if inner else name: f"{name} is left whole ({why})"
        for name, why in left.items()
        for inner, module in network.get_submodule(name).named_modules()
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
    }


def _check_names(module: fx.GraphModule, left_whole: frozenset[str]) -> None:
    nodes = list(module.graph.nodes)
    for name in sorted(left_whole - {name for node in nodes for name in (node.name, str(node.target))}):
        known = sorted({str(node.target) if node.op == "call_module" else node.name for node in nodes})
        raise InputError(f"whole: the traced network has no module or node {name!r}{nearest(name, known)}")


def _example(network: nn.Module, input_shape: tuple[int, ...]) -> Tensor:
    """A few random images."""
    parameter = next(parameter for parameter in network.parameters() if parameter.is_floating_point())
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(TRAINING_IMAGES, *input_shape, generator=generator, dtype=torch.float32)
    return images.to(parameter.device, parameter.dtype)


@torch.no_grad()
def _propagate(module: fx.GraphModule, images: Tensor) -> None:
    """Give every node the shape of its tensor for a batch of images."""
    ShapeProp(module.eval()).propagate(images.clone())
