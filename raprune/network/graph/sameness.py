"""Compares a traced network with the original: outputs in eval mode and in training, and gradients."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from raprune.errors import InputError
from raprune.network.draws import drawn, same_draws
from raprune.network.graph.module import EXTRA

SEED = 0
RTOL, ATOL = 1e-4, 1e-5


@contextlib.contextmanager
def undisturbed(network: nn.Module, opaque: Iterable[str] = ()) -> Iterator[None]:
    """Restores modules, buffers and torch's generators after whatever runs inside.

    Parameters of ``opaque`` modules, whose forward may do anything, are restored, too.
    """
    own = [module for module in network.modules() if not isinstance(module, torch.jit.ScriptModule)]
    attributes = [(module, dict(module.__dict__)) for module in own]
    tables = [(module.__dict__[key], dict(module.__dict__[key])) for module, _ in attributes for key in _TABLES]
    parts = [module for name, module in network.named_modules() if name in set(opaque)]
    tensors = [*network.buffers(), *(parameter for part in parts for parameter in part.parameters())]
    values = [(tensor, tensor.detach().clone()) for tensor in tensors]
    with same_draws():
        try:
            yield
        finally:
            for held, before in [*((module.__dict__, saved) for module, saved in attributes), *tables]:
                held.clear()
                held.update(before)
            for tensor, value in values:
                with torch.inference_mode(tensor.is_inference()), torch.no_grad(), torch._C.DisableTorchFunction():
                    tensor.copy_(value)


_TABLES = ("_parameters", "_buffers", "_modules")


Outputs = Mapping[int, Tensor | None]
"""Number of images -> output in eval mode; ``None`` if the network cannot take that number."""


def outputs(network: nn.Module, images: Tensor, choose: Callable[[Any], Tensor]) -> Outputs:
    """The outputs of ``network`` for two of ``images`` and for one."""
    results: dict[int, Tensor | None] = {}
    with undisturbed(network), torch.no_grad():
        network.eval()
        for number in (2, 1):
            try:
                results[number] = choose(network(images[:number].clone())).clone()
            except Exception:  # whatever a network raises that does not take a single image
                if number == 2:
                    raise
                results[number] = None
    return results


@dataclass(frozen=True)
class Step:
    """The effects of running a network on two images in training."""

    output: Tensor
    reached: frozenset[str]
    """Parameters to which gradients of that output flow."""
    buffers: Mapping[str, Tensor]
    """Buffers after the run."""
    extra: Mapping[str, Any]
    """Entries of the state dict that need not be tensors, after the run."""


def train_step(network: nn.Module, images: Tensor, choose: Callable[[Any], Tensor], opaque: Iterable[str] = ()) -> Step:
    """Run ``network`` on two of ``images`` in training."""
    with undisturbed(network, opaque), drawn(SEED):
        network.train()
        output = choose(network(images[:2].clone()))
        return Step(
            output.detach().clone(),
            _reached(network, output),
            {name: buffer.clone() for name, buffer in network.named_buffers()},
            {name: value for name, value in network.state_dict().items() if name.endswith(EXTRA)},
        )


def _reached(network: nn.Module, output: Tensor) -> frozenset[str]:
    """The parameters to which gradients of ``output`` flow."""
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    seen: set[Any] = set()
    reached = set()
    ahead = [output.grad_fn]
    while ahead:
        step = ahead.pop()
        if step is None or step in seen:
            continue
        seen.add(step)
        reached.add(names.get(id(getattr(step, "variable", None)), ""))
        ahead += [following for following, _ in step.next_functions]
    return frozenset(reached - {""})


def differing_buffers(found: Step, expected: Step) -> list[str]:
    """Buffers that the traced network leaves in another state than the network does."""
    ours = found.buffers
    return [name for name, theirs in expected.buffers.items() if name in ours and not _close(ours[name], theirs)]


def check_outputs(found: Outputs, expected: Outputs) -> None:
    """Raise :class:`InputError` if the traced network does not return what the network returns."""
    for number, output in expected.items():
        ours = found[number]
        if output is not None and (ours is None or not _close(ours, output)):
            how = "" if number == 2 else " for a single image"
            raise InputError(
                f"the traced network returns other values than the network{how}: its forward draws random numbers, or "
                "depends on the number of images or on something else that tracing does not see; rewrite that part"
            )


def check_step(found: Step, expected: Step, again: Callable[[], Step]) -> None:
    """Raise :class:`InputError` if the two differ in training; ``again`` runs the network once more."""
    differ = sorted(found.reached ^ expected.reached)
    if not differ and _close(found.output, expected.output):
        return
    if not differ and not _close(again().output, expected.output):
        return  # it draws from its own generator, so no two runs are the same
    what = f"gradients reach other parameters ({', '.join(differ[:8])})" if differ else "its outputs differ"
    raise InputError(
        f"the traced network does not train as the network does: {what}; state that its forward keeps between runs, or "
        "draws from its own generator, cannot be traced: move them into a module and list it in the model's whole"
    )


def check_state(network: nn.Module, expected: Step) -> None:
    """Raise :class:`InputError` for extra state that changes in training, since it is not saved with the weights."""
    before = {name: value for name, value in network.state_dict().items() if name.endswith(EXTRA)}
    for name, value in expected.extra.items():
        if name in before and not _equal(before[name], value):
            raise InputError(
                f"{name.removesuffix('.' + EXTRA)}: its extra state changes in training and cannot be saved with the "
                "weights; use buffers"
            )


def _equal(one: Any, other: Any) -> bool:
    try:
        return bool(torch.equal(one, other) if isinstance(one, Tensor) else one == other)
    except (RuntimeError, ValueError, TypeError):
        return True  # not comparable


def _close(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if not one.is_floating_point():
        return torch.equal(one, other)
    largest = float(other.detach().abs().nan_to_num(posinf=0.0).max()) if other.numel() else 0.0
    return torch.allclose(one, other, rtol=RTOL, atol=ATOL * max(1.0, largest), equal_nan=True)
