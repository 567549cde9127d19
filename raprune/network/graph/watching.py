"""Observes calls that recorded tensors alone do not reveal."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch.overrides import TorchFunctionMode

from raprune.network.graph.shapes import Shape, Size
from raprune.network.graph.values import Untraceable, Value, leaves


class Recorder(Protocol):
    """Records operations."""

    running: bool
    """Whether the current run must not be recorded."""

    def is_elsewhere(self) -> bool: ...

    def check_state_alone(self, target: Any, args: Any) -> None: ...

    def recorded_call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any: ...


class Calls(TorchFunctionMode):
    """Intercepts every torch function, to record calls with sizes alone and refuse changes of the network's tensors."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Called by torch for every function."""
        kwargs = kwargs or {}
        if not self.recorder.running:
            parts = [*leaves((args, kwargs))]
            if any(isinstance(p, Size | Shape) for p in parts) and not any(isinstance(p, Value) for p in parts):
                return self.recorder.recorded_call(func, args, kwargs)
            self.recorder.check_state_alone(func, args)
        return func(*args, **kwargs)


@contextlib.contextmanager
def functions_of_autograd(recorder: Recorder) -> Iterator[None]:
    """Refuses functions with their own backward, except checkpoints, which are traced into."""
    own = torch.autograd.Function.__dict__["apply"]

    def apply(cls: Any, *args: Any, **kwargs: Any) -> Any:
        if recorder.is_elsewhere() or not any(isinstance(part, Value) for part in leaves((args, kwargs))):
            return own.__get__(None, cls)(*args, **kwargs)
        if cls is torch.utils.checkpoint.CheckpointFunction:
            return args[0](*args[2:])
        raise Untraceable(f"it calls {cls.__name__}, which has a backward of its own")

    torch.autograd.Function.apply = classmethod(apply)
    try:
        yield
    finally:
        torch.autograd.Function.apply = own
