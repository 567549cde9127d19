"""A user's own function as its source file tells of it: neither it nor what it needs is imported or run."""

from __future__ import annotations

import ast
import importlib.util
import os
import pkgutil
import re
import sys
from collections.abc import Iterator
from difflib import get_close_matches
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

from pydantic import create_model

from raprune.errors import InputError
from raprune.registry import ImportedSettings, Plugin, Settings, nearest, not_imported

BOUND_UNSEEN = {"*", "__getattr__", "globals", "vars", "exec"}
"""With one of these names in its source, a module may hold any name."""

STARRED = re.compile(r"\bfrom\s+(\.*)\s*([\w.]*)\s+import\s*\*")
DEFINED = re.compile(r"^(?:def|class) (\w+)", re.M)


def own_plugin(kind: str, name: str) -> Plugin:
    """The plug-in ``package.module:function`` with the arguments of its function as keys.

    Any key is right where the source does not say which. Raises :class:`InputError` for an unknown module or function.
    """
    module, _, function = name.partition(":")
    if not _exists(first := module.partition(".")[0]):
        raise InputError(f"{kind} {name!r} cannot be imported: {_not_found(first)}")
    settings: type[Settings] = ImportedSettings
    text = _text(module)
    tree = _parsed(text)
    if text is not None and tree is not None and "." not in function:
        names, more = set(_bound(tree)), set[str]()
        if "*" in names:
            names, more = _starred(module, text)
        if function not in names and not names & BOUND_UNSEEN:
            public = sorted(known for known in {*_at_top(tree), *more} - {"*"} if not known.startswith("_"))
            message = f"{kind} {name!r} cannot be imported: {module} has no {function!r}{nearest(function, public)}"
            raise InputError(message)
        settings = _arguments(tree, function)
    return not_imported(kind, name, settings)


def _text(module: str) -> str | None:
    """The source of a module, found as ``import`` from the working folder finds it; ``None`` where it has none."""
    try:
        spec = spec_of(module)
        if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
            return None
        return Path(spec.origin).read_text(encoding="utf-8-sig")
    except (ImportError, OSError, ValueError):  # what is wrong with it, importing it tells
        return None


def _parsed(text: str | None) -> ast.Module | None:
    try:
        return None if text is None else ast.parse(text)
    except (SyntaxError, ValueError):
        return None


def _starred(module: str, text: str) -> tuple[set[str], set[str]]:
    """All words of a module and of those whose names it takes over; and their functions and classes.

    Among the words is ``*`` if one of them has no source.
    """
    words, public = set[str](), set[str]()
    left: dict[str, str | None] = {module: text}
    seen: set[str] = set()
    while left:
        name, source = left.popitem()
        seen.add(name)
        words |= {"*"} if source is None else set(re.findall(r"\w+", source))
        public |= set(DEFINED.findall(source or ""))
        left |= {other: _text(other) for other in _taken_over(name, source or "") if other not in seen}
    return words, public


def _taken_over(module: str, text: str) -> Iterator[str]:
    """The modules of which ``module`` imports ``*``; an empty name for one that cannot be told."""
    for dots, name in STARRED.findall(text):
        try:
            spec = spec_of(module)
            is_package = spec is not None and spec.submodule_search_locations is not None
            yield importlib.util.resolve_name(dots + name, module if is_package else module.rpartition(".")[0])
        except (ImportError, ValueError):
            yield ""


def _exists(first: str) -> bool:
    try:
        return spec_of(first) is not None
    except (ImportError, ValueError):  # something is there
        return True


def spec_of(module: str) -> ModuleSpec | None:
    """Where ``import`` from the working folder finds a module; no module is run."""
    first, *inner = module.split(".")
    spec = PathFinder.find_spec(first, [os.getcwd(), *sys.path]) or importlib.util.find_spec(first)
    for part in inner:
        if spec is None or spec.submodule_search_locations is None:
            return None
        spec = PathFinder.find_spec(f"{spec.name}.{part}", spec.submodule_search_locations)
    return spec


def _bound(tree: ast.Module) -> Iterator[str]:
    """Every name that a module may hold; ``*`` if it takes over those of another one."""
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.Name(id=name):
                yield name
            case ast.alias(name=name, asname=asname):
                yield asname or name.partition(".")[0]


def _at_top(tree: ast.Module) -> Iterator[str]:
    """The names that the statements of a module bind, not those inside its functions and classes."""
    for node in tree.body:
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.Import() | ast.ImportFrom():
                yield from _bound(ast.Module([node], []))
            case ast.Assign() | ast.AnnAssign():
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                yield from (target.id for target in targets if isinstance(target, ast.Name))


def _not_found(first: str) -> str:
    """No module is called ``first``: where it was looked for, and the name there that is most like it."""
    folders = list(dict.fromkeys(str(Path(folder).absolute()) for folder in (os.getcwd(), *sys.path)))
    near = get_close_matches(first, {module.name for module in pkgutil.iter_modules(folders)}, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"no module {first!r} in {', '.join(folders)}{hint}"


def _arguments(tree: ast.Module, function: str) -> type[Settings]:
    """Settings with the arguments of a function of ``tree`` as keys."""
    found = [node for node in ast.walk(tree) if getattr(node, "name", None) == function]
    if len(found) != 1 or found[0] not in tree.body or not isinstance(found[0], ast.FunctionDef):
        return ImportedSettings
    arguments = found[0].args
    if found[0].decorator_list or arguments.kwarg is not None:
        return ImportedSettings
    keys = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    if any(key.startswith("_") or hasattr(Settings, key) for key in keys):  # no names for keys of settings
        return ImportedSettings
    fields: dict[str, Any] = dict.fromkeys(keys, (Any, None))
    return create_model("OwnSettings", __base__=Settings, **fields)
