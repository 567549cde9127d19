"""The code of a user's own modules: whose it is, what it does, what it reads of other modules."""

from __future__ import annotations

import dis
import importlib
import importlib.util
import sys
import sysconfig
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from raprune.system.paths import PACKAGE

LIBRARIES = [Path(sysconfig.get_paths()[name]) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
INSTALLED = {"site-packages", "dist-packages"}
SILENT = {"RESUME", "CACHE", "EXTENDED_ARG", "NOP", "PRECALL"}
"""Instructions that change no result."""

IsOwn = Callable[[str], bool]
"""Whether a module, by its name, is a user's own."""


def own_modules(packages: frozenset[str] = frozenset()) -> IsOwn:
    """A test for a user's own modules; ``packages`` count as the user's even if they are installed."""

    def is_own(module: str) -> bool:
        if module == "builtins":
            return False
        if module.partition(".")[0] in packages or module == "__main__":
            return True
        found = sys.modules.get(module)
        file = getattr(found, "__file__", None)
        if file is None:
            return found is None or hasattr(found, "__path__")
        return is_own_file(file)

    return is_own


def is_own_file(file: str | Path) -> bool:
    """Whether a file or folder is a user's: no library's, and not ours."""
    path = Path(file).resolve()
    return not INSTALLED & set(path.parts) and not any(path.is_relative_to(f) for f in (*LIBRARIES, PACKAGE.resolve()))


def instructions(code: types.CodeType) -> Iterator[tuple[str, Any]]:
    """The instructions of ``code``, with constants and names instead of their indices, and without line numbers."""
    found = [one for one in dis.get_instructions(code) if one.opname not in SILENT]
    place = {one.offset: number for number, one in enumerate(found)}
    for one in found:
        if one.opcode in dis.hasjrel or one.opcode in dis.hasjabs:
            yield one.opname, place.get(one.argval, one.argval)
        elif "FAST" in one.opname or one.opcode in dis.hasfree:
            yield one.opname, one.arg
        else:
            yield one.opname, one.argval


def read_by(code: types.CodeType, names: Mapping[str, Any], is_own: IsOwn) -> Iterator[tuple[str, Any]]:
    """The values of ``names``, a module's globals, that ``code`` reads; of own modules the parts that it names."""
    package = str(names.get("__package__") or "")
    for one in dis.get_instructions(code):
        if one.opname in ("LOAD_GLOBAL", "LOAD_NAME") and one.argval in names:
            yield from _parts(one.argval, names[one.argval], code, is_own)
        elif one.opname == "IMPORT_NAME":
            module = _imported(one.argval, package)
            if module is not None:
                yield from _parts(one.argval, module, code, is_own)


def _parts(name: str, value: Any, code: types.CodeType, is_own: IsOwn) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, types.ModuleType) or not is_own(value.__name__):
        yield name, value
        return
    for part in code.co_names:
        if part != name and part in vars(value):
            yield from _parts(part, vars(value)[part], code, is_own)


def _imported(name: str, package: str) -> types.ModuleType | None:
    """The module that a function imports: by its name, or relative to its package; an own one is imported for it."""
    for full in (name, f"{package}.{name}" if name else package):
        if full in sys.modules:
            return sys.modules[full]
        try:
            spec = importlib.util.find_spec(full)
            if spec is not None and spec.origin is not None and is_own_file(spec.origin):
                return importlib.import_module(full)
        except Exception:  # whatever a module raises that is imported only where it is needed
            continue
    return None
