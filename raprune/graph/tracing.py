"""A network to the form in which raprune runs it: a ``torch.fx`` graph that surgery can make smaller.

The traced network has the function, the parameters and the names of the original. Reshapes that hold fixed numbers
become calls that do not, and :class:`Align` modules stand where channels may have to be moved.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from raprune.errors import InputError
from raprune.graph.collect import collect
from raprune.graph.layout import lay_out
from raprune.graph.modes import follow_mode
from raprune.graph.network import Traced
from raprune.graph.rules import NORMS, function_name, rule_of
from raprune.graph.walk import Walk, shape
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
    The traced network shares its modules with ``network``, in eval mode. Raises :class:`InputError` naming the node
    that cannot be traced or followed.
    """
    left_whole = frozenset(whole)
    _check_parameters(network)
    training = network.training
    try:
        graph = _symbolic(network.eval(), left_whole)
        other = _symbolic(network.train(), left_whole)
    finally:
        network.train(training)
    network.eval()
    if (differs := follow_mode(network, graph, other)) is not None:
        raise InputError(f"the network runs differently in training: {differs}")
    module = fx.GraphModule(network, graph)
    _one_output(module, output)
    _check_names(module, left_whole)
    _propagate(module, network, input_shape)
    _mend(module)
    module.recompile()
    _propagate(module, network, input_shape)
    walk = Walk(module, residual, left_whole)
    walk.run(rule_of)
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
        hint = "a module whose forward depends on values can be left whole: model: {..., whole: [its name]}"
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
        node.args = (given[wanted],)
    elif wanted is not None:
        raise InputError(f"the network gives one tensor: there is no output {wanted!r} to choose")
    module.graph.eliminate_dead_code()
    module.delete_all_unused_submodules()


def _check_names(module: fx.GraphModule, left_whole: frozenset[str]) -> None:
    known = {name for node in module.graph.nodes for name in (node.name, str(node.target))}
    for name in sorted(left_whole - known):
        raise InputError(f"whole: the traced network has no module or node {name!r}{nearest(name, sorted(known))}")


def _propagate(module: fx.GraphModule, network: nn.Module, input_shape: tuple[int, ...]) -> None:
    """Give every node the shape of its tensor for a batch of two images."""
    parameter = next(network.parameters())
    example = torch.zeros(2, *input_shape, dtype=parameter.dtype, device=parameter.device)
    try:
        with torch.no_grad():
            ShapeProp(module).propagate(example)
    except Exception as error:  # nor what it raises on images that it cannot take
        cause = error.__cause__ or error
        first = (str(cause).splitlines() or [""])[0]
        raise InputError(f"the network cannot take images of {tuple(input_shape)}: {first}") from error


def _mend(module: fx.GraphModule) -> None:
    """Reshapes that name a number of channels or features follow the channels instead."""
    for node in list(module.graph.nodes):
        if node.op not in ("call_method", "call_function") or function_name(node.target) not in ("view", "reshape"):
            continue
        source = node.all_input_nodes[0]
        if "tensor_meta" not in source.meta or "tensor_meta" not in node.meta:
            continue
        before, after = shape(source), shape(node)
        if len(before) > 2 and len(after) == 2 and after[0] == before[0]:
            with module.graph.inserting_before(node):
                flat = module.graph.call_function(torch.flatten, (source, 1))
            node.replace_all_uses_with(flat)
            module.graph.erase_node(node)
        elif len(after) > 2 and after[:2] == before[:2] and isinstance(_sizes(node)[1], int):
            with module.graph.inserting_before(node):
                channels = module.graph.call_method("size", (source, 1))
            sizes = list(_sizes(node))
            sizes[1] = channels
            node.args = (source, *sizes)
    module.graph.eliminate_dead_code()


def _sizes(node: fx.Node) -> tuple[Any, ...]:
    """The target shape that a view or reshape names."""
    rest: tuple[Any, ...] = node.args[1:]
    return tuple(rest[0]) if len(rest) == 1 and isinstance(rest[0], list | tuple) else rest
