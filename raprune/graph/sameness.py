"""Whether a traced network is the network: what both give, in eval mode and in training, and the gradients."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from raprune.errors import InputError
from raprune.graph.module import EXTRA

SEED = 0
RTOL, ATOL = 1e-4, 1e-5


@contextlib.contextmanager
def undisturbed(network: nn.Module) -> Iterator[None]:
    """Whatever runs inside leaves modules, buffers and torch's generators as they were."""
    attributes = [(module, dict(module.__dict__)) for module in network.modules()]
    tables = [(module.__dict__[of], dict(module.__dict__[of])) for module, _ in attributes for of in _TABLES]
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    with torch.random.fork_rng(devices=_cuda(network)):
        try:
            yield
        finally:
            for held, before in [*((module.__dict__, of) for module, of in attributes), *tables]:
                held.clear()
                held.update(before)
            with torch.no_grad():
                for buffer, value in buffers:
                    buffer.copy_(value)


_TABLES = ("_parameters", "_buffers", "_modules")


def _cuda(network: nn.Module) -> list[torch.device]:
    return [t.device for t in network.parameters() if t.is_cuda][:1]


@dataclass(frozen=True)
class Behaviour:
    """What a network does on example images."""

    outputs: Mapping[int, Tensor | None]
    """Number of images -> output in eval mode; ``None`` where the network cannot take so many."""
    trained: Tensor
    """Output in training."""
    gradients: Mapping[str, Tensor | None]
    """Parameter -> gradient of a projection of that output."""
    buffers: Mapping[str, Tensor]
    """After the run in training."""
    extra: Mapping[str, Any]
    """Entries of the state dict that are no tensors of the network's, after the run in training."""


def behaviour(network: nn.Module, images: Tensor, choose: Callable[[Any], Tensor]) -> Behaviour:
    """Run ``network`` on some of ``images`` in eval mode, and on all of them in training."""
    outputs: dict[int, Tensor | None] = {}
    with undisturbed(network), torch.no_grad():
        network.eval()
        for number in (2, 1, len(images)):
            try:
                outputs[number] = choose(network(images[:number].clone())).clone()
            except Exception:  # whatever a network raises that does not take a single image
                if number == 2:
                    raise
                outputs[number] = None
    with undisturbed(network):
        network.train()
        torch.manual_seed(SEED)
        trained = choose(network(images.clone()))
        gradients = _gradients(network, trained)
        state = network.state_dict()
        return Behaviour(
            outputs,
            trained.detach().clone(),
            gradients,
            {name: buffer.clone() for name, buffer in network.named_buffers()},
            {name: value for name, value in state.items() if name.endswith(EXTRA)},
        )


def _gradients(network: nn.Module, output: Tensor) -> dict[str, Tensor | None]:
    wanted = {name: p for name, p in network.named_parameters() if p.requires_grad}
    if not wanted or not output.requires_grad:
        return dict.fromkeys(wanted)
    weights = torch.linspace(-1.0, 1.0, output.numel(), dtype=output.dtype, device=output.device)
    try:
        found = torch.autograd.grad((output.flatten() * weights).sum(), [*wanted.values()], allow_unused=True)
    except RuntimeError:  # what works in place may keep a network from being trained; the traced one can be
        return {}
    return dict(zip(wanted, found, strict=True))


def differing_buffers(found: Behaviour, expected: Behaviour) -> list[str]:
    """Buffers that the traced network leaves otherwise than the network."""
    ours = found.buffers
    return [name for name, of in expected.buffers.items() if name in ours and not _close(ours[name], of)]


def check_same(found: Behaviour, expected: Behaviour, again: Callable[[], Behaviour]) -> None:
    """Raise :class:`InputError` where the two differ; ``again`` runs the network once more."""
    for number, output in expected.outputs.items():
        ours = found.outputs[number]
        if output is not None and (ours is None or not _close(ours, output)):
            how = "" if number == 2 else f" ({number} images at once)"
            raise InputError(
                f"the traced network is not the network{how}: its forward changes values in place that it uses again, "
                "or draws at random, or depends on something that tracing does not see; write it without, or trace "
                "another form"
            )
    missing = [n for n, of in expected.gradients.items() if not _close_or_none(found.gradients.get(n), of)]
    if not missing and _close(found.trained, expected.trained):
        return
    if not _close(again().trained, expected.trained):  # it draws from a generator of its own: there is no same
        return
    what = f"gradients differ for {', '.join(missing[:8])}" if missing else "its outputs differ"
    raise InputError(
        f"the traced network does not train as the network does: {what}; hooks, a backward of its own or state that a "
        "forward keeps cannot be traced: put them into a module and name it in the model's whole"
    )


def check_state(network: nn.Module, expected: Behaviour) -> None:
    """Raise :class:`InputError` for extra state that changes as a network trains: it is not kept with the weights."""
    before = {name: value for name, value in network.state_dict().items() if name.endswith(EXTRA)}
    for name, value in expected.extra.items():
        if name in before and not _equal(before[name], value):
            raise InputError(
                f"{name.removesuffix('.' + EXTRA)}: its extra state changes in training, which cannot be kept with the "
                "weights; use buffers"
            )


def _equal(one: Any, other: Any) -> bool:
    try:
        return bool(torch.equal(one, other) if isinstance(one, Tensor) else one == other)
    except (RuntimeError, ValueError, TypeError):
        return True  # not comparable: nothing can be said


def _close_or_none(one: Tensor | None, other: Tensor | None) -> bool:
    return one is other if one is None or other is None else _close(one, other)


def _close(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if not one.is_floating_point():
        return torch.equal(one, other)
    largest = float(other.detach().abs().nan_to_num(posinf=0.0).max()) if other.numel() else 0.0
    return torch.allclose(one, other, rtol=RTOL, atol=ATOL * max(1.0, largest), equal_nan=True)
