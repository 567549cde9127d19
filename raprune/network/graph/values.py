"""What a forward sees while it is recorded: tensors, sizes and objects that know the node they come from.

Each holds the node's result for the example images, so that shapes can be read; reading a tensor's values is refused.
"""

from __future__ import annotations

import copy
import dataclasses
import operator
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, fx

from raprune.network.graph.shapes import Shape, Size

CONSTANTS = (bool, float, str, torch.dtype, torch.device, torch.layout, torch.memory_format, type(None))


class Untraceable(Exception):
    """A forward does something that cannot be traced; the message says what."""


class _Known:
    """Reads attributes from the value of its node and records those that are tensors or sizes."""

    node: fx.Node
    tracer: Any
    value: Any

    def attribute(self, name: str) -> Any:
        if name in HOOKS:
            raise Untraceable(f"it calls .{name} of a tensor")
        if name in ("requires_grad", "grad_fn") and self.node.meta.get(GRADIENTS):
            return self._of_gradients(name)
        attribute = getattr(self.value, name)
        if callable(attribute) and not isinstance(attribute, Tensor):
            return _Method(self, name)
        if isinstance(attribute, CONSTANTS) or (name == "ndim" and isinstance(self.value, Tensor)):
            return attribute
        return self.tracer.record("call_function", getattr, (self, name), {})

    def _of_gradients(self, name: str) -> bool:
        if name == "grad_fn":
            raise Untraceable("it asks for .grad_fn of a tensor")
        return True


GRADIENTS = "gradients"
"""Key in the meta of a node that returns a tensor: whether gradients were on."""
HOOKS = ("register_hook", "register_post_accumulate_grad_hook", "retain_grad", "backward", "set_")


@dataclasses.dataclass(frozen=True)
class _Method:
    """A bound method of a value, recorded when called."""

    of: Any
    name: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.of.tracer.record("call_method", self.name, (self.of, *args), kwargs)


OWN = frozenset(("node", "tracer", "value", "version", "attribute", "_of_gradients", "rebind", "is_current"))
VALUES = ("__bool__", "__int__", "__float__", "__index__", "__complex__", "__contains__", "__array__", "__format__")
"""Python's special methods whose results depend on a tensor's values."""


class Value(_Known, fx.Proxy, Tensor):  # type: ignore[misc]
    """A tensor."""

    @staticmethod
    def of(value: Tensor, node: fx.Node, tracer: Any) -> Value:
        """The tensor that ``node`` returns, sharing memory with ``value``."""
        made: Value = torch.Tensor._make_subclass(Value, value.detach())
        made.__dict__.update(node=node, tracer=tracer, value=value, version=version_of(value))
        return made

    def rebind(self, node: fx.Node) -> None:
        """After an in-place change, make this the result of ``node``."""
        self.__dict__.update(node=node, version=version_of(self.value))

    def is_current(self) -> bool:
        """Whether neither it nor its base was changed in place through another name."""
        return bool(self.__dict__["version"] == version_of(self.value))

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

    def __copy__(self) -> Any:
        raise Untraceable("it copies a tensor with copy.copy")

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
        """Called by torch for every torch function that gets a recorded tensor."""
        tracer = next(v.tracer for v in leaves((args, kwargs)) if isinstance(v, Value))
        return tracer.recorded_call(orig_method, args, kwargs or {})


def _depends(name: str) -> Callable[..., Any]:
    def ask(self: Value, *args: Any) -> Any:
        raise Untraceable("its control flow depends on the values of a tensor")

    return ask


def _in_place(name: str) -> Callable[..., Any]:
    function = getattr(operator, f"i{name}")

    def change(self: Value, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", function, (self, other), {}, name)

    return change


for _name in VALUES:
    setattr(Value, _name, _depends(_name))


class Held(_Known, fx.Proxy):
    """An object that a module returns, neither tensor nor container."""

    def __init__(self, value: Any, node: fx.Node, tracer: Any) -> None:
        fx.Proxy.__init__(self, node, tracer)
        self.value = value

    def __getattr__(self, name: str) -> Any:
        if name in OWN or name.startswith("__"):
            raise AttributeError(name)
        return self.attribute(name)

    def __bool__(self) -> bool:
        raise Untraceable("its control flow depends on what a module returns")

    def __iter__(self) -> Iterator[Any]:
        raise Untraceable(f"it iterates over a {type(self.value).__name__} that a module returns")

    def __len__(self) -> int:
        raise Untraceable(f"it takes the length of a {type(self.value).__name__} that a module returns")


for _name in ("add", "sub", "mul", "truediv"):
    setattr(Value, f"__i{_name}__", _in_place(_name))


def version_of(tensor: Tensor) -> int:
    """How often a tensor was changed in place; 0 for inference tensors, which do not count."""
    return 0 if tensor.is_inference() else tensor._version


def leaves(value: Any) -> Iterator[Any]:
    """All values in nested containers."""
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
    """``value`` with recorded parts replaced by their values."""
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
    """A container with each part replaced by ``change(key, part)``; anything else as it is."""
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
    """Whether ``value`` is a data class that stores its fields as attributes."""
    plain = dataclasses.is_dataclass(value) and not isinstance(value, type | Held | Value | dict)
    return plain and hasattr(value, "__dict__")
