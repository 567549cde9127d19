"""The forward and backward pass of a training step, on a GPU as one CUDA graph.

A step of a small network is hundreds of launches, each of which takes the processor longer than the GPU. A graph
records them once and replays them with one call. It runs the same operations on the same values, so the weights are the
same to the last bit.

A graph repeats what it recorded. So a network is recorded only if no user's code runs in it, such as a module or a hook
that may do something else in each step, and if its loss is one of raprune's. The steps of all others are launched
operation by operation.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _NormBase

from raprune.network.graph.plain import does_the_same

Loss = Callable[[Tensor, Tensor], Tensor]
"""From what the network returns and the labels to a scalar."""

WARM_UP = 2
"""Steps launched before the recording, in its stream, so that torch's libraries set up there what they keep."""
FEWEST = 6
"""Steps a training must have for a recording to pay: it takes as long as some of them."""


class Around(nn.Module):
    """A module that runs a traced network in a way of its own, with parameters of its own."""

    def __init__(self, network: fx.GraphModule) -> None:
        super().__init__()
        self._network = [network]  # in a list: its own parameters are not trained

    @property
    def traced(self) -> fx.GraphModule:
        """The network that is run."""
        return self._network[0]


class Gradients:
    """Computes the loss of a batch and the gradients of the network's parameters."""

    def __init__(self, network: nn.Module, loss_of: Loss, num_steps: int) -> None:
        self._network, self._loss_of = network, loss_of
        self._parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        on_gpu = bool(self._parameters) and self._parameters[0].is_cuda
        self._may_record = on_gpu and num_steps >= FEWEST and is_steady(network, loss_of)
        self._launched = 0
        self._recording: Recording | None = None

    def __call__(self, inputs: tuple[Any, ...], labels_B: Tensor) -> Tensor:
        """The loss, without its graph; every parameter's ``grad`` is that of this batch alone."""
        if self._may_record and _recordable(inputs, labels_B):
            if self._launched < WARM_UP:
                self._launched += 1
                with _aside(labels_B.device):
                    return self._launch(inputs, labels_B)
            self._recording, self._may_record = self._recorded(inputs, labels_B), False
        if self._recording is not None and self._recording.fits(inputs, labels_B):
            return self._recording.replay(inputs, labels_B)
        return self._launch(inputs, labels_B)

    def _recorded(self, inputs: tuple[Any, ...], labels_B: Tensor) -> Recording | None:
        """The step; ``None`` where there is no room for it, or where something in it waits for the GPU."""
        if not _has_room(labels_B.device):
            return None
        try:
            return Recording(self._launch, self._parameters, inputs, labels_B)
        except RuntimeError:
            return None

    def _launch(self, inputs: tuple[Any, ...], labels_B: Tensor) -> Tensor:
        for parameter in self._parameters:
            parameter.grad = None
        loss = self._loss_of(self._network(*inputs), labels_B)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()


class Recording:
    """One step as a CUDA graph, which reads its batch from fixed places and leaves loss and gradients in others."""

    def __init__(
        self,
        launch: Callable[[tuple[Any, ...], Tensor], Tensor],
        parameters: Sequence[Tensor],
        inputs: tuple[Any, ...],
        labels_B: Tensor,
    ) -> None:
        self._inputs, self._labels_B = tuple(map(_place_for, inputs)), _place_for(labels_B)
        self._graph = torch.cuda.CUDAGraph()
        with _aside(labels_B.device):
            self._graph.capture_begin(capture_error_mode="thread_local")
            try:
                self._loss = launch(self._inputs, self._labels_B)
            finally:
                self._graph.capture_end()
        self._gradients = [(parameter, parameter.grad) for parameter in parameters]

    def fits(self, inputs: tuple[Any, ...], labels_B: Tensor) -> bool:
        """Whether a batch is like the recorded one in shapes, types and layouts."""
        pairs = zip((*inputs, labels_B), (*self._inputs, self._labels_B), strict=True)
        return all(_alike(given, place) for given, place in pairs)

    def replay(self, inputs: tuple[Any, ...], labels_B: Tensor) -> Tensor:
        """The recorded step on another batch; returns the loss."""
        for given, place in zip((*inputs, labels_B), (*self._inputs, self._labels_B), strict=True):
            place.copy_(given)
        self._graph.replay()
        for parameter, gradient in self._gradients:
            parameter.grad = gradient
        return self._loss.clone()


@contextlib.contextmanager
def _aside(device: torch.device) -> Iterator[None]:
    """Launch the block in the stream in which steps are recorded, between what was launched before and after it."""
    here, aside = torch.cuda.current_stream(device), _stream(device)
    aside.wait_stream(here)
    with torch.cuda.stream(aside):
        yield
    here.wait_stream(aside)


@lru_cache(maxsize=64)
def _stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def is_steady(network: nn.Module, loss_of: Loss) -> bool:
    """Whether a training step of ``network`` launches the same every time, as far as can be known."""
    traced = network.traced if isinstance(network, Around) else network
    reads_counter = (isinstance(module, _NormBase) and module.momentum is None for module in traced.modules())
    ours = str(getattr(loss_of, "__module__", "")).startswith("raprune.")
    return ours and does_the_same(traced) and not any(reads_counter)


def _recordable(inputs: tuple[Any, ...], labels_B: Tensor) -> bool:
    """Whether all of a batch is on the GPU, and no boxes: what their loss launches follows from their values."""
    boxes = labels_B.is_floating_point() and labels_B.dim() == 3
    return not boxes and all(isinstance(value, Tensor) and value.is_cuda for value in (*inputs, labels_B))


def _has_room(device: torch.device) -> bool:
    """Whether a GPU has room for as much again as this process has taken; a recording needs a part of that."""
    return torch.cuda.mem_get_info(device)[0] > torch.cuda.memory_reserved(device)


def _place_for(value: Tensor) -> Tensor:
    return value.detach().clone()


def _alike(given: Any, place: Tensor) -> bool:
    return (
        isinstance(given, Tensor)
        and (given.shape, given.dtype, given.device) == (place.shape, place.dtype, place.device)
        and given.stride() == place.stride()
    )
