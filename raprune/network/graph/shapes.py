"""Numbers that a recorded forward derives from the shapes of tensors."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any, Protocol

from torch import fx


class Recorder(Protocol):
    """Records operations."""

    def record(self, kind: str, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any: ...

    def recorded_call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any: ...


class Size(int):
    """A number derived from the shapes of tensors."""

    node: fx.Node
    tracer: Recorder

    def __new__(cls, value: int, node: fx.Node, tracer: Recorder) -> Size:
        size = super().__new__(cls, value)
        size.node, size.tracer = node, tracer
        return size

    def __reduce__(self) -> Any:
        return int, (int(self),)

    def __deepcopy__(self, memo: Any) -> Size:
        return self


def _arithmetic(name: str) -> None:
    function, plain = getattr(operator, name), getattr(int, f"__{name}__")

    def forward(self: Size, other: Any) -> Any:
        if plain(self, other) is NotImplemented:
            return NotImplemented
        return self.tracer.record("call_function", function, (self, other), {})

    def reflected(self: Size, other: Any) -> Any:
        if plain(self, other) is NotImplemented:
            return NotImplemented
        return self.tracer.record("call_function", function, (other, self), {})

    setattr(Size, f"__{name}__", forward)
    setattr(Size, f"__r{name}__", reflected)


for _name in ("add", "sub", "mul", "floordiv", "mod"):
    _arithmetic(_name)


class Shape(tuple[int, ...]):
    """The shape of a tensor; its entries are :class:`Size`."""

    node: fx.Node
    tracer: Recorder

    def __new__(cls, sizes: Any, node: fx.Node, tracer: Recorder) -> Shape:
        shape = super().__new__(cls, sizes)
        shape.node, shape.tracer = node, tracer
        return shape

    def __getitem__(self, index: Any) -> Any:
        super().__getitem__(index)
        return self.tracer.record("call_function", operator.getitem, (self, index), {})

    def __iter__(self) -> Iterator[Any]:
        return (self[place] for place in range(len(self)))

    def __add__(self, other: Any) -> Any:
        return (*self, *other)

    def __radd__(self, other: Any) -> Any:
        return (*other, *self)

    def numel(self) -> Any:
        """Like ``torch.Size.numel``."""
        product: Any = 1
        for size in self:
            product = product * size
        return product
