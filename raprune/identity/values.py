"""Fingerprints of Python values, the code of functions and classes included.

Of a user's own functions the bytecode counts, with all that it reads: defaults, closures, and the functions, classes
and constants of the user's own modules that it names. Comments, docstrings, line numbers and names of local variables
do not count. What libraries bring counts by its name. Own is what lies neither in Python's library nor among the
installed packages nor in raprune, and what runs as a script or in a notebook.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import inspect
import types
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from raprune.identity.code import instructions, own_modules, read_by
from raprune.system.moved import earlier_name

DIGEST_BYTES = 16
PLAIN = (types.NoneType, bool, int, float, complex, str, bytes, types.EllipsisType, range)
NAMED = (torch.dtype, torch.device, torch.Size, torch.layout, torch.memory_format, slice, PurePath)
"""Values whose text says all of them."""
CONTAINERS = (list, tuple, set, frozenset, Mapping)
"""Equal ones may be one object or several, which makes no difference; others are added once."""
NO_CONTENT = ("logging", "threading", "_thread", "weakref", "_weakref", "random", "io", "_io")
"""Modules whose objects are tools of a process, and not what is computed."""
OF_CLASSES = {
    "__doc__", "__module__", "__qualname__", "__dict__", "__weakref__", "__annotations__", "__firstlineno__",
    "__static_attributes__", "__orig_bases__", "__parameters__", "__abstractmethods__", "_abc_impl", "__annotate__",
    "__annotate_func__", "__annotations_cache__", "__classdictcell__",
}  # fmt: skip
"""Entries of a class's dictionary that are not its behaviour."""
OF_MODULES = {*vars(nn.Module()), "_is_full_backward_hook"}
"""Attributes that every ``nn.Module`` has."""
HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


def of_value(*values: Any, own: frozenset[str] = frozenset()) -> str:
    """Of values, and of the code that they bring; ``own`` as for :class:`Fingerprint`."""
    fingerprint = Fingerprint(own=own)
    for value in values:
        fingerprint.add(value)
    return fingerprint.hexdigest()


class Fingerprint:
    """A digest to which values are added one after another; it depends on their content and order alone."""

    def __init__(self, size: int = DIGEST_BYTES, own: frozenset[str] = frozenset()) -> None:
        """``own`` are packages that are the user's own although they are installed."""
        self._is_own = own_modules(own)
        self._own = own
        self._blake = hashlib.blake2b(digest_size=size)
        self._seen: dict[int, tuple[int, Any]] = {}
        """Of what is added once: id -> place, and the object, which so keeps its id."""
        self._inside: list[int] = []
        """Ids of what is being added."""
        self._classes: set[type] = set()

    def hexdigest(self) -> str:
        return self._blake.hexdigest()

    def say(self, *words: str) -> None:
        """Add words, each apart from the next."""
        for word in words:
            self._blake.update(word.encode("utf-8", "surrogatepass") + b"\0")

    def add(self, value: Any) -> None:
        """Add any value; one that holds itself counts as its depth where it comes again."""
        if isinstance(value, enum.Enum):
            self.say(type(value).__qualname__, value.name)
        elif isinstance(value, PLAIN):
            self.say(type(value).__name__, repr(value))
        elif isinstance(value, NAMED):
            self.say(type(value).__name__, str(value))
        elif isinstance(value, Tensor | np.ndarray | np.generic):
            self._array(value)
        elif id(value) in self._inside:
            self.say("inside", str(self._inside.index(id(value))))
        elif id(value) in self._seen:
            self.say("again", str(self._seen[id(value)][0]))
        else:
            if not isinstance(value, CONTAINERS):
                self._seen[id(value)] = len(self._seen), value
            self._inside.append(id(value))
            self._object(value)
            self._inside.pop()

    def settings(self, module: nn.Module) -> None:
        """Add what a module is besides its tensors and submodules: class, attributes and hooks."""
        self._class(type(module))
        private = "__" if self._is_own(type(module).__module__) else "_"  # torch.jit leaves __overloads__, and so on
        for name, value in sorted(vars(module).items()):
            if name not in OF_MODULES and not name.startswith(private):
                self.say(name)
                self.add(value)
        if type(module).get_extra_state is not nn.Module.get_extra_state:
            self.say("extra state")
            self.add(module.get_extra_state())
        for kind in HOOKS:
            for hook in getattr(module, kind).values():
                self.say(kind)
                self.add(hook)

    def _array(self, value: Any) -> None:
        array = value.detach().cpu().contiguous() if isinstance(value, Tensor) else np.ascontiguousarray(value)
        self.say(type(value).__name__, str(array.dtype), str(tuple(array.shape)))
        if isinstance(array, Tensor):
            array = array.flatten().view(torch.uint8).numpy() if array.numel() else np.empty(0)
        self._blake.update(array.reshape(-1).view(np.uint8).data if array.dtype != object else repr(array).encode())

    def _object(self, value: Any) -> None:
        if isinstance(value, list | tuple):
            self._many(type(value).__name__, value)
        elif isinstance(value, set | frozenset):
            self.say(type(value).__name__, *sorted(of_value(item, own=self._own) for item in value))
        elif isinstance(value, Mapping):
            pairs = sorted(value.items(), key=lambda pair: repr(pair[0]))
            self._many(type(value).__name__, [part for pair in pairs for part in pair])
        elif isinstance(value, nn.Module):
            self._module(value)
        else:
            self._of_code(value)

    def _of_code(self, value: Any) -> None:
        if isinstance(value, type):
            self._class(value)
        elif isinstance(value, types.ModuleType):
            self.say("module", earlier_name(value.__name__))
        elif isinstance(value, functools.partial):
            self._many("partial", (value.func, value.args, value.keywords))
        elif isinstance(value, types.MethodType):
            self._many("method", (value.__func__, value.__self__))
        elif isinstance(value, types.FunctionType):
            self._function(value)
        else:
            self._instance(value)

    def _many(self, kind: str, values: Iterable[Any]) -> None:
        found = list(values)
        self.say(kind, str(len(found)))
        for value in found:
            self.add(value)

    def _module(self, module: nn.Module) -> None:
        for name, part in module.named_modules():
            self.say("module", name)
            self.settings(part)
        for name, value in module.state_dict().items():
            self.say(name)
            self.add(value)

    def _instance(self, value: Any) -> None:
        """Its class and attributes, of a library's the public ones; of a built-in function the name."""
        name, wrapped = getattr(value, "__qualname__", None), getattr(value, "__wrapped__", None)
        if isinstance(name, str):
            self.say(earlier_name(str(getattr(value, "__module__", ""))), name)
            self.add(wrapped if callable(wrapped) else None)
            return
        self._class(type(value))
        if type(value).__module__.partition(".")[0] in NO_CONTENT:
            return
        private = "\0" if self._is_own(type(value).__module__) else "_"
        slots = [name for cls in type(value).__mro__ for name in _names(getattr(cls, "__slots__", ()))]
        found = {name: getattr(value, name) for name in slots if hasattr(value, name)}
        found |= getattr(value, "__dict__", {})
        self.add({name: part for name, part in found.items() if not str(name).startswith(private)})

    def _class(self, cls: type) -> None:
        """Of an own class all that it and its own bases define; of others the name."""
        if not self._is_own(cls.__module__):
            self.say(earlier_name(cls.__module__), cls.__qualname__)
            return
        self.say("class", cls.__qualname__)
        if cls in self._classes:
            return
        self._classes.add(cls)
        for base in cls.__bases__:
            self._class(base)
        for name, value in sorted(vars(cls).items()):
            if name not in OF_CLASSES:
                self.say(name)
                for part in _behind(value):
                    self.add(part)

    def _function(self, function: types.FunctionType) -> None:
        own = self._is_own(function.__module__ or "builtins")
        if not own:
            self.say(earlier_name(str(function.__module__)), function.__qualname__)
        self._many("function", (function.__defaults__, function.__kwdefaults__))
        for cell in function.__closure__ or ():
            try:
                self.add(cell.cell_contents)
            except ValueError:  # not filled yet
                self.say("empty")
        if own:
            self._code(function.__code__, function.__globals__)

    def _code(self, code: types.CodeType, names: Mapping[str, Any]) -> None:
        self.say("code", str(code.co_argcount), str(code.co_kwonlyargcount), str(code.co_flags & ~0x4000000))
        for operation, argument in instructions(code):
            self.say(operation)
            if isinstance(argument, types.CodeType):
                self._code(argument, names)
            else:
                self.add(argument)
        for name, value in read_by(code, names, self._is_own):
            self.say(name)
            self.add(value)


def _names(slots: Any) -> Iterable[str]:
    return (slots,) if isinstance(slots, str) else slots


def _behind(value: Any) -> Iterable[Any]:
    """What a descriptor of a class calls."""
    if isinstance(value, property):
        return (value.fget, value.fset)
    if isinstance(value, staticmethod | classmethod):
        return (value.__func__,)
    if isinstance(value, functools.cached_property):
        return (value.func,)
    return () if inspect.isdatadescriptor(value) else (value,)
