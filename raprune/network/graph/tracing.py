"""Turns a network into the form that raprune runs: a ``torch.fx`` graph that surgery can make smaller.

The traced network has the function, the parameters and the names of the original. Reshapes with fixed numbers become
calls without them, and :class:`Align` modules are inserted where channels may have to move.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, fx, nn

from raprune.errors import InputError
from raprune.network.graph.ambient import plain_torch
from raprune.network.graph.checks import check_network
from raprune.network.graph.collect import collect
from raprune.network.graph.layout import lay_out
from raprune.network.graph.mending import follow_channels, out_of_place
from raprune.network.graph.modes import EVAL_IMAGES, TRAINING_IMAGES, compare, follow_twins
from raprune.network.graph.module import Network
from raprune.network.graph.network import Traced
from raprune.network.graph.noting import note_shapes
from raprune.network.graph.outputs import choose_output
from raprune.network.graph.picking import look_ahead
from raprune.network.graph.places import said_of
from raprune.network.graph.recording import Recorder
from raprune.network.graph.rules import rule_of
from raprune.network.graph.sameness import (
    Outputs,
    Step,
    check_outputs,
    check_state,
    check_step,
    differing_buffers,
    outputs,
    train_step,
    undisturbed,
)  # fmt: skip
from raprune.network.graph.walk import Walk
from raprune.registry import nearest

ADVICE = "move the code that cannot be traced into a module of its own, which is then left whole"


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

    ``residual`` says whether convolutions that meet in a sum have their own keep masks (``independent``: the filters
    kept are scattered into the sum) or share one (``coupled``: a smaller network). Modules and nodes named in ``whole``
    are not traced into, and the channels that they read stay; the same holds for modules that cannot be traced.
    ``Graph.whole`` gives the reasons. ``output`` names the tensor to use if the network returns several. The traced
    network shares its modules with ``network``, in eval mode, and works out of place. It trains as ``network`` does:
    frozen modules and parameters stay frozen. Raises :class:`InputError` naming what cannot be traced or followed.
    """
    if residual not in ("independent", "coupled"):
        raise ValueError(f"residual must be independent or coupled; got {residual!r}")
    check_network(network)
    session = Session(network, _example(network, input_shape), frozenset(whole), output)
    module, left = session.traced()
    note_shapes(module, session.images[:EVAL_IMAGES])
    walk = Walk(module, residual, session.whole | frozenset(left))
    walk.run(rule_of, look_ahead)
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
        parameter.requires_grad_(name in session.trainable)
    return Traced(module.eval(), graph)


class Session:
    """The runs of one network that tracing needs."""

    def __init__(self, network: nn.Module, images: Tensor, whole: frozenset[str], output: str | int | None) -> None:
        self.network = network
        self.images = images
        self.others = images.flip(0).neg() + 0.5
        """Images other than those recorded on, so that a recorded constant cannot match them by accident."""
        self.whole = whole
        self.output = output
        self.left: dict[str, str] = {}
        """Modules that cannot be traced -> why."""
        self.held, self.trainable = _training_mode(network)

    def choose(self, given: Any) -> Tensor:
        """The output that is scored."""
        chosen: Tensor = choose_output(given, self.output)
        return chosen

    def traced(self) -> tuple[Network, dict[str, str]]:
        """The network as an equivalent graph, and the modules left whole -> why."""
        expected = self._outputs()
        step = None
        while True:
            module = self._record()
            step = step or self._step()
            self._mend(module)
            found = train_step(module, self.others, lambda given: given, self._opaque())
            owners = {name.rpartition(".")[0] for name in differing_buffers(found, step)} - {"", *self.left}
            if not owners:
                break
            self.left |= dict.fromkeys(owners, "its forward changes its buffers")
        check_outputs(outputs(module, self.others, lambda given: given), expected)
        check_step(found, step, self._step)
        return module, self.left

    def _opaque(self) -> frozenset[str]:
        return self.whole | frozenset(self.left)

    def _outputs(self) -> Outputs:
        try:
            return outputs(self.network, self.others, self.choose)
        except InputError:
            raise
        except Exception as error:  # whatever it raises for images that it cannot take
            shape = tuple(self.images.shape[1:])
            raise InputError(f"the network cannot take images of {shape}: {said_of(error)}") from error

    def _step(self) -> Step:
        step = train_step(self.network, self.others, self.choose, self._opaque())
        check_state(self.network, step)
        return step

    def _mend(self, module: Network) -> None:
        """Rewrite what surgery cannot keep."""
        _check_names(module, self.whole)
        out_of_place(module)
        note_shapes(module, self.images[:EVAL_IMAGES])
        follow_channels(module)
        module.recompile()
        module._held_in_eval = self.held

    def _record(self) -> Network:
        """The network as a graph that follows the training mode."""
        while True:
            before = len(self.left)
            with undisturbed(self.network, self._opaque()):
                graph, training = self._symbolic(False, EVAL_IMAGES), self._training()
                if len(self.left) > before:
                    continue
                differ = compare(self.network, graph, training)
                if not differ:
                    module = Network(self.network, graph)
                    follow_twins(module, training)
                    break
                if "" in differ:
                    raise InputError(f"the network runs differently in training: {differ['']}; {ADVICE}")
                for name, why in differ.items():
                    self.left[name] = f"{type(self.network.get_submodule(name)).__name__}: {why}"
        for name in set(self.left) - {str(node.target) for node in graph.nodes}:
            del self.left[name]
        module.graph.eliminate_dead_code()
        module.delete_all_unused_submodules()
        module.recompile()
        return module

    def _training(self) -> fx.Graph:
        try:
            return self._symbolic(True, TRAINING_IMAGES)
        except InputError as error:  # a forward may contain the number of images, two in all shapes that users see
            try:
                return self._symbolic(True, EVAL_IMAGES)
            except InputError:
                raise error from None

    def _symbolic(self, training: bool, number: int) -> fx.Graph:
        network = self.network.train(training)
        try:
            return Recorder(self.whole, self.left).record_run(network, self.images[:number], self.choose)
        except InputError as error:
            if not training:
                raise
            known = inspect.signature(type(network).__init__).parameters
            hint = "build it with aux_logits=False" if "aux_logits" in known else "build it without auxiliary heads"
            raise InputError(f"{error}, but only in training; if the others serve training only, {hint}") from error
        except Exception as error:  # a user's forward may raise anything under tracing
            others = "".join(f"\n  {name}: {why}" for name, why in self.left.items())
            mode, so_far = " in training" if training else "", ". Left whole so far:" if others else ""
            raise InputError(
                f"the network cannot be traced{mode}: {said_of(error)}\n{ADVICE}{so_far}{others}"
            ) from error


def _training_mode(network: nn.Module) -> tuple[frozenset[str], frozenset[str]]:
    """Modules that stay in eval mode when ``network`` trains, and trainable parameters."""
    network.eval()
    if stay := [name for name, module in network.named_modules() if module.training]:
        raise InputError(f"{', '.join(stay[:8])}: still in training mode after eval(), so scores would be wrong")
    network.train()
    held = frozenset(name for name, module in network.named_modules() if not module.training)
    return held, frozenset(name for name, parameter in network.named_parameters() if parameter.requires_grad)


def _inside(network: nn.Module, left: dict[str, str]) -> dict[str, str]:
    """The convolutions inside modules left whole -> why."""
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
    """A few seeded random images, on the network's device and in its type."""
    parameter = next(parameter for parameter in network.parameters() if parameter.is_floating_point())
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(TRAINING_IMAGES, *input_shape, generator=generator, dtype=torch.float32)
    return images.to(parameter.device, parameter.dtype)
