"""A network to the form in which raprune runs it: a ``torch.fx`` graph that surgery can make smaller.

The traced network has the function, the parameters and the names of the original. Reshapes that hold fixed numbers
become calls that do not, and :class:`Align` modules stand where channels may have to be moved.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from raprune.errors import InputError
from raprune.graph.collect import collect
from raprune.graph.layout import lay_out
from raprune.graph.mending import follow_channels, out_of_place
from raprune.graph.modes import follow_mode
from raprune.graph.network import Traced
from raprune.graph.picking import look_ahead
from raprune.graph.rules import rule_of
from raprune.graph.walk import NORMS, Walk
from raprune.registry import nearest

LEAVES = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, *NORMS)
"""Never looked into, whatever a library made of them: a rule speaks for each."""


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
    are not looked into: what they read stays. ``output`` names the tensor to take where the network gives several.
    The traced network shares its modules with ``network``, in eval mode; what works in place no longer does. Raises
    :class:`InputError` naming what cannot be traced or followed.
    """
    if residual not in ("independent", "coupled"):
        raise ValueError(f"residual must be independent or coupled; got {residual!r}")
    left_whole = frozenset(whole)
    _check_parameters(network)
    graph, other = (_symbolic(network.train(mode), left_whole) for mode in (False, True))
    network.eval()
    images = _example(network, input_shape)
    expected = _run(network, images, input_shape)
    if (differs := follow_mode(network, graph, other)) is not None:
        raise InputError(f"the network runs differently in training: {differs}")
    module = fx.GraphModule(network, graph).eval()
    _one_output(module, output)
    _check_names(module, left_whole)
    out_of_place(module)
    _propagate(module, images)
    follow_channels(module)
    module.recompile()
    _check_function(_propagate(module, images), expected, output)
    walk = Walk(module, residual, left_whole)
    walk.run(rule_of, look_ahead)
    found = collect(walk)
    module.delete_all_unused_submodules()
    module.graph.lint()
    module.recompile()
    lay_out(module, found, found.kept({}))
    return Traced(module.eval(), found)


class _Tracer(fx.Tracer):
    def __init__(self, left_whole: frozenset[str]) -> None:
        super().__init__()
        self.left_whole = left_whole
        self.record_stack_traces = True

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Also: layers with a rule, and what is left whole."""
        known = isinstance(m, LEAVES) or module_qualified_name in self.left_whole
        return known or super().is_leaf_module(m, module_qualified_name)


def _symbolic(network: nn.Module, left_whole: frozenset[str]) -> fx.Graph:
    try:
        graph = _Tracer(left_whole).trace(network)
    except Exception as error:  # what a user's forward may raise under tracing is not ours to list
        hint = "a module whose forward depends on values can be left whole: name it in the model's whole"
        raise InputError(f"the network cannot be traced: {type(error).__name__}: {error}; {hint}") from error
    return graph


def _check_parameters(network: nn.Module) -> None:
    seen: dict[int, str] = {}
    for name, parameter in network.named_parameters(remove_duplicate=False):
        if "parametrizations" in name:
            raise InputError(f"{name}: parametrised weights cannot be pruned; remove the parametrisation first")
        owner, _, _ = name.rpartition(".")
        module = network.get_submodule(owner)
        if id(parameter) in seen and id(module) != id(network.get_submodule(seen[id(parameter)].rpartition(".")[0])):
            raise InputError(f"{name} and {seen[id(parameter)]} are one tensor; shared weights cannot be pruned")
        seen[id(parameter)] = name
        if getattr(module, "weight_g", None) is not None or hasattr(module, "weight_orig"):
            raise InputError(f"{owner}: its weight is computed by a hook (weight or spectral norm); remove that first")


def _one_output(module: fx.GraphModule, wanted: str | int | None) -> None:
    """Make the network give the one tensor that is scored."""
    node = next(n for n in module.graph.nodes if n.op == "output")
    given: Any = node.args[0]
    if isinstance(given, list | tuple):
        given = dict(enumerate(given))
    if isinstance(given, dict):
        names = ", ".join(map(str, given))
        if wanted is None and len(given) == 1:
            wanted = next(iter(given))
        if wanted not in given:
            said = "" if wanted is None else f"; it has no {wanted!r}"
            raise InputError(f"the network gives several outputs ({names}): name one with output{said}")
        given = given[wanted]
        node.args = (given,)
    elif wanted is not None:
        raise InputError(f"the network gives one tensor: there is no output {wanted!r} to choose")
    if not isinstance(given, fx.Node):
        raise InputError(f"the network's output {'' if wanted is None else repr(wanted)} is not a tensor")
    module.graph.eliminate_dead_code()
    module.delete_all_unused_submodules()


def _check_names(module: fx.GraphModule, left_whole: frozenset[str]) -> None:
    nodes = list(module.graph.nodes)
    for name in sorted(left_whole - {name for node in nodes for name in (node.name, str(node.target))}):
        known = sorted({str(node.target) if node.op == "call_module" else node.name for node in nodes})
        raise InputError(f"whole: the traced network has no module or node {name!r}{nearest(name, known)}")


def _example(network: nn.Module, input_shape: tuple[int, ...]) -> Tensor:
    """Two random images."""
    parameter = next(network.parameters(), None)
    if parameter is None:
        raise InputError("the network has no parameters")
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, *input_shape, generator=generator).to(parameter.device, parameter.dtype)


@torch.no_grad()
def _run(network: nn.Module, images: Tensor, input_shape: tuple[int, ...]) -> Any:
    try:
        return network(images.clone())
    except Exception as error:  # nor what it raises on images that it cannot take
        first = (str(error).splitlines() or [""])[0]
        raise InputError(f"the network cannot take images of {tuple(input_shape)}: {first}") from error


@torch.no_grad()
def _propagate(module: fx.GraphModule, images: Tensor) -> Tensor:
    """Give every node the shape of its tensor for a batch of two images; gives back the network's output."""
    found: Tensor = ShapeProp(module).propagate(images.clone())
    return found


def _check_function(found: Tensor, expected: Any, output: str | int | None) -> None:
    """Whether the traced network gives what the network gave."""
    if isinstance(expected, dict | list | tuple):
        several: dict[Any, Any] = expected if isinstance(expected, dict) else dict(enumerate(expected))
        expected = several[next(iter(several)) if output is None else output]
    if found.shape != expected.shape or not torch.allclose(found, expected, rtol=1e-4, atol=1e-5, equal_nan=True):
        raise InputError(
            "the traced network is not the network: its forward changes values in place that it uses again, or draws "
            "at random, or depends on something that tracing does not see; write it without, or trace another form"
        )
