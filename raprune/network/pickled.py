"""The tensors of a pickle that holds other objects, too: hyper-parameters, arguments, paths, a whole network.

``torch.load`` without code (``weights_only``) refuses such a file altogether. Here nothing that a file names is
imported or called: whatever is neither a tensor nor a built-in container becomes a :class:`Foreign`, which only takes
what the file puts into it. Reads the zip archives of ``torch.save`` (torch 1.6 and newer), and no TorchScript.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
CONTAINERS = {("collections", "OrderedDict"): OrderedDict, ("builtins", "set"): set, ("__builtin__", "set"): set}
"""Types of Python's own that hold others and whose construction runs nothing else."""
MOST_TENSORS = 100_000
"""Most tensors of one network, so that modules nested by a hostile file end."""


class Foreign(dict[Any, Any]):
    """Stands for an object of a class that is not imported; a module of torch becomes its state dict.

    Its type has the name of the class. It takes whatever a pickle does to an object, and holds what is put into it as
    a dictionary.
    """

    __hash__ = object.__hash__  # type: ignore[assignment]
    __eq__ = object.__eq__

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, Mapping) or not isinstance(state.get("_modules"), Mapping):
            return
        hidden = state.get("_non_persistent_buffers_set") or ()
        for kind in ("_parameters", "_buffers"):
            tensors = state.get(kind) or {}
            self.update({name: t for name, t in tensors.items() if t is not None and name not in hidden})
        for name, module in state["_modules"].items():
            if isinstance(module, Foreign):
                self.update({f"{name}.{inner}": tensor for inner, tensor in module.items()})
            if len(self) > MOST_TENSORS:
                raise pickle.UnpicklingError("the network has too many tensors")

    def __call__(self, *args: Any, **kwargs: Any) -> Foreign:
        return type(self)()

    def append(self, item: Any) -> None:
        """As of a list; the item is forgotten."""

    def extend(self, items: Any) -> None:
        """As of a list; the items are forgotten."""

    def add(self, item: Any) -> None:
        """As of a set; the item is forgotten."""


def tensors_of_pickle(file: Path) -> Any:
    """What a file holds, each object of a class that would have to be imported replaced by a :class:`Foreign`.

    Raises whatever reading bytes that are no such file raises.
    """
    with zipfile.ZipFile(file) as archive:
        found = {name.partition("/")[2]: name for name in archive.namelist()}
        if "constants.pkl" in found:
            raise pickle.UnpicklingError("it is a TorchScript archive")
        return _Unpickler(archive, found).load()


def _tensor(storage: Tensor, offset: int, size: Any, stride: Any, *rest: Any) -> Tensor:
    """The view of a storage that ``torch._utils._rebuild_tensor_v2`` returns for these arguments."""
    if rest[2:] and rest[2]:
        raise pickle.UnpicklingError("a tensor is marked as negated or conjugated")
    return torch.as_strided(storage, size, stride, offset)


class _Unpickler(pickle.Unpickler):
    def __init__(self, archive: zipfile.ZipFile, records: Mapping[str, str]) -> None:
        self._archive, self._records = archive, records
        self._storages: dict[str, Tensor] = {}
        order = self._record("byteorder") if "byteorder" in records else sys.byteorder.encode()
        if order != sys.byteorder.encode():
            raise pickle.UnpicklingError("its numbers have the bytes of another kind of processor")
        data = self._record("data.pkl")
        for code, argument, _ in pickletools.genops(data):
            if code.name in ("PUT", "LONG_BINPUT") and int(argument or 0) > len(data):
                raise pickle.UnpicklingError("it reserves more memory than it can fill")
        super().__init__(io.BytesIO(data), encoding="utf-8")

    def _record(self, name: str) -> bytes:
        place = self._archive.getinfo(self._records[name])
        if place.compress_type != zipfile.ZIP_STORED:
            raise pickle.UnpicklingError("it is compressed")
        return self._archive.read(place)

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """What stands for a global of the file; never the global itself, unless it is one of ``CONTAINERS``."""
        if (module_name, global_name) in CONTAINERS:
            return CONTAINERS[module_name, global_name]
        if module_name == "torch" and global_name in STORAGES:
            return STORAGES[global_name]
        if (module_name, global_name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda *arguments: _tensor(*arguments)
        if (module_name, global_name) == ("torch._utils", "_rebuild_parameter"):
            return lambda data, *rest: data
        return type(f"{module_name}.{global_name}", (Foreign,), {})

    def persistent_load(self, pid: Any) -> Tensor:
        """The values of a storage, as they lie in the archive."""
        kind, dtype, key, _, number = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise pickle.UnpicklingError("it refers to something that is no storage")
        if key not in self._storages:
            data = bytearray(self._record(f"data/{key}"))
            values = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
            if len(values) != number:
                raise pickle.UnpicklingError("it lacks a part of a storage")
            self._storages[key] = values
        return self._storages[key]
