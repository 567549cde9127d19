"""What a forward sees while it is recorded: tensors, sizes and objects that know the node they come from.

Each holds what the node gave for the example images, so that questions about shapes have answers; questions about the
values of tensors have none.
"""

from __future__ import annotations

import copy
import dataclasses
import operator
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor, fx

CONSTANTS = (bool, float, str, torch.dtype, torch.device, torch.layout, torch.memory_format, type(None))


class Untraceable(Exception):
    """What a forward does that a trace cannot hold."""


class Recorder(Protocol):
    """Where operations are written down."""

    def record(self, kind: str, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any: ...

    def recorded_call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any: ...


class Size(int):
    """A number that follows from the shapes of tensors."""

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
    """The shape of a tensor; its parts are :class:`Size`."""

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
        """As that of ``torch.Size``."""
        product: Any = 1
        for size in self:
            product = product * size
        return product


class _Known:
    """Answers every attribute from the value of its node, and records those that give tensors or sizes."""

    node: fx.Node
    tracer: Any
    value: Any

    def attribute(self, name: str) -> Any:
        if name in HOOKS:
            raise Untraceable(f"it calls .{name} of a tensor")
        found = getattr(self.value, name)
        if callable(found) and not isinstance(found, Tensor):
            return _Method(self, name)
        if isinstance(found, CONSTANTS) or (name == "ndim" and isinstance(self.value, Tensor)):
            return found
        return self.tracer.record("call_function", getattr, (self, name), {})


HOOKS = ("register_hook", "register_post_accumulate_grad_hook", "retain_grad", "backward", "set_")


@dataclasses.dataclass(frozen=True)
class _Method:
    """A method of a value, to be called."""

    of: Any
    name: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.of.tracer.record("call_method", self.name, (self.of, *args), kwargs)


OWN = frozenset(("node", "tracer", "value", "attribute"))
VALUES = ("__bool__", "__int__", "__float__", "__index__", "__complex__", "__contains__", "__array__", "__format__")
"""What Python asks of a tensor that depends on its values."""


class Value(_Known, fx.Proxy, Tensor):  # type: ignore[misc]
    """A tensor."""

    @staticmethod
    def of(value: Tensor, node: fx.Node, tracer: Any) -> Value:
        """The tensor that ``node`` gives, sharing memory with ``value``."""
        made: Value = torch.Tensor._make_subclass(Value, value.detach())
        made.__dict__.update(node=node, tracer=tracer, value=value)
        return made

    def __getattribute__(self, name: str) -> Any:
        if name in OWN or (name.startswith("__") and name.endswith("__")):
            return object.__getattribute__(self, name)
        return object.__getattribute__(self, "attribute")(name)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"'Tensor' object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        raise Untraceable(f"it sets .{name} of a tensor")

    def __setitem__(self, index: Any, value: Any) -> None:
        raise Untraceable("it writes into a part of a tensor")

    def __repr__(self) -> str:  # type: ignore[override]
        return f"{type(self).__name__}({self.node.name})"

    def __iadd__(self, other: Any) -> Any:  # type: ignore[misc]
        return self + other

    def __isub__(self, other: Any) -> Any:  # type: ignore[misc]
        return self - other

    def __imul__(self, other: Any) -> Any:  # type: ignore[misc]
        return self * other

    def __itruediv__(self, other: Any) -> Any:  # type: ignore[misc]
        return self / other

    def __len__(self) -> int:
        return len(self.value)

    def __iter__(self) -> Iterator[Any]:
        return (self[place] for place in range(len(self.value)))

    def __hash__(self) -> int:
        return id(self)

    def __deepcopy__(self, memo: Any) -> Any:
        raise Untraceable("it copies a tensor with copy.deepcopy")

    @classmethod
    def __torch_function__(cls, orig_method: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Of torch: whatever a function of torch is called with one of these."""
        tracer = next(v.tracer for v in leaves((args, kwargs)) if isinstance(v, Value))
        return tracer.recorded_call(orig_method, args, kwargs or {})


def _depends(name: str) -> Callable[..., Any]:
    def ask(self: Value, *args: Any) -> Any:
        raise Untraceable("its control flow depends on the values of a tensor")

    return ask


for _name in VALUES:
    setattr(Value, _name, _depends(_name))


class Held(_Known, fx.Proxy):
    """An object that a module gives, neither tensor nor container."""

    def __init__(self, value: Any, node: fx.Node, tracer: Any) -> None:
        fx.Proxy.__init__(self, node, tracer)
        self.value = value

    def __getattr__(self, name: str) -> Any:
        if name in OWN or name.startswith("__"):
            raise AttributeError(name)
        return self.attribute(name)

    def __bool__(self) -> bool:
        raise Untraceable("its control flow depends on what a module gives")

    def __iter__(self) -> Iterator[Any]:
        raise Untraceable(f"it runs through a {type(self.value).__name__} that a module gives")

    def __len__(self) -> int:
        raise Untraceable(f"it asks for the length of a {type(self.value).__name__} that a module gives")


def leaves(value: Any) -> Iterator[Any]:
    """All that is in nested containers."""
    if isinstance(value, Shape):
        yield value
    elif isinstance(value, list | tuple | set):
        for part in value:
            yield from leaves(part)
    elif isinstance(value, dict):
        yield from leaves([*value.values()])
    elif isinstance(value, slice):
        yield from leaves((value.start, value.stop, value.step))
    elif _is_record(value):
        yield from leaves([*vars(value).values()])
    else:
        yield value


def known(value: Any) -> Any:
    """``value`` with what its parts stand for."""
    if isinstance(value, Value | Held):
        return value.value
    if isinstance(value, Size):
        return int(value)
    if isinstance(value, Shape):
        return torch.Size(int(size) for size in tuple.__iter__(value))
    if isinstance(value, slice):
        return slice(known(value.start), known(value.stop), known(value.step))
    return rebuilt(value, lambda _, part: known(part))


def rebuilt(value: Any, change: Callable[[Any, Any], Any]) -> Any:
    """A container of ``change(key, part)`` for each of its parts; anything else as it is."""
    if isinstance(value, tuple | list) and type(value) is not torch.Size:
        parts = [change(place, part) for place, part in enumerate(value)]
        if hasattr(value, "_fields"):
            return type(value)(*parts)
        return type(value)(parts)
    if type(value) is dict or (isinstance(value, dict) and not dataclasses.is_dataclass(value)):
        made = copy.copy(value)
        made.update({key: change(key, part) for key, part in value.items()})
        return made
    if _is_record(value):
        made = copy.copy(value)
        made.__dict__.update({key: change(key, part) for key, part in vars(value).items()})
        return made
    return value


def _is_record(value: Any) -> bool:
    """Whether ``value`` is a data class that keeps its fields as attributes."""
    plain = dataclasses.is_dataclass(value) and not isinstance(value, type | Held | Value | dict)
    return plain and hasattr(value, "__dict__")
