"""Plug-ins as their source files tell of them, without importing these: torch alone takes seconds.

Read are each plug-in's name, the keys of its settings with their types, and what the contract of its kind has it
declare. Validators and what settings say of files are left out. A type that cannot be read takes any value.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any, ClassVar, get_origin

from pydantic import ConfigDict, create_model

from raprune.registry import Finders, Plugin, Registry, Settings, finding, not_imported
from raprune.study.library_names import LibraryName
from raprune.study.own_code import own_plugin
from raprune.system.paths import PACKAGE

LIGHT = ("errors", "registry", "study", "system")
"""Parts of raprune that import nothing slow."""
KNOWN = ("pydantic", "pydantic_core")


class _Read(Settings):
    """Base of settings that were read: a default may be unknown, and is not checked."""

    model_config = ConfigDict(validate_default=False, use_attribute_docstrings=False)

    def problems(self) -> list[tuple[str, str]]:
        """Names of other libraries that these surely do not have."""
        return [
            (key, problem)
            for key, field in type(self).model_fields.items()
            for rule in field.metadata
            if isinstance(rule, LibraryName) and (problem := rule.problem(getattr(self, key)))
        ]


@contextlib.contextmanager
def nothing_imported(own: bool = True) -> Iterator[None]:
    """Inside the block plug-ins are as their source tells of them; none can be built.

    ``own``: a user's own, too; else they need not be there.
    """
    with finding(Finders(own_plugin if own else not_imported, _plugins_of)):
        yield


@cache
def _plugins_of(registry: Registry) -> dict[str, Plugin]:
    found = {}
    for file in sorted(PACKAGE.joinpath(*registry.package.split(".")[1:]).glob("*.py")):
        module = _module(f"{registry.package}.{file.stem}")
        for node in module.nodes.values():
            for name, settings in _registered(node, registry, module):
                plugin = not_imported(registry.kind, name, settings)
                found[name] = replace(plugin, declared=module.declared(node, registry))
    return found


def _registered(node: ast.AST, registry: Registry, module: _Module) -> Iterator[tuple[str, type[Settings]]]:
    """Name and settings of each ``@KIND.register(...)`` of a class or function."""
    for call in getattr(node, "decorator_list", ()):
        match call:
            case ast.Call(func=ast.Attribute(value=kind, attr="register")) if module.value(kind) is registry:
                name, *settings = map(module.value, call.args)
                yield name, settings[0] if settings else Settings


class _Module(dict[str, Any]):
    """The names of one module of raprune, each read when it is asked for; a missing one raises KeyError."""

    def __init__(self, name: str) -> None:
        path = PACKAGE.joinpath(*name.split(".")[1:])
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        self.nodes: dict[str, ast.AST] = {}
        self._imported: dict[str, tuple[str, str]] = {}
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            self._enter(node)

    def _enter(self, node: ast.stmt) -> None:
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                self.nodes[name] = node
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ):
                self.nodes[name] = value
            case ast.ImportFrom(module=str(module)):
                self._imported |= {alias.asname or alias.name: (module, alias.name) for alias in node.names}

    def __missing__(self, name: str) -> Any:
        if name in self._imported:
            self[name] = _imported(*self._imported[name])
        elif isinstance(node := self.nodes[name], ast.ClassDef):
            self[name] = self._settings(node)
        elif isinstance(node, ast.expr):
            self[name] = self.value(node)
        else:
            raise KeyError(name)
        return self[name]

    def value(self, node: ast.expr) -> Any:
        """What an expression of this module is; raises an exception of any kind where that cannot be read."""
        return eval(compile(ast.Expression(node), "<settings>", "eval"), {}, self)

    def _settings(self, node: ast.ClassDef) -> type[Settings]:
        """The class of settings ``node``, with what of it can be read."""
        (base,) = map(self.value, node.bases)
        if not issubclass(base, Settings):
            raise KeyError(node.name)
        free = _changed_first(node, base)
        fields: dict[str, Any] = dict.fromkeys(free, (Any, None))
        for part in node.body:
            if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name) and part.target.id not in free:
                fields[part.target.id] = self._field(part)
        bases = base if issubclass(base, _Read) else _Read if base is Settings else (_Read, base)
        return create_model(node.name, __base__=bases, **{k: v for k, v in fields.items() if v[0] is not ClassVar})

    def _field(self, part: ast.AnnAssign) -> tuple[Any, Any]:
        """Type and default of a key; of any type, and not required, where those cannot be read."""
        try:
            annotation = self.value(part.annotation)
            default = ... if part.value is None else self.value(part.value)
        except Exception:  # whatever evaluating half a module raises
            return Any, None
        return (ClassVar if ClassVar in (annotation, get_origin(annotation)) else annotation), default

    def declared(self, node: ast.AST, registry: Registry) -> dict[str, Any]:
        """What a plug-in declares in its class, or inherits."""
        found: dict[str, Any] = {}
        for module, part in self._bodies(node):
            if isinstance(part, ast.AnnAssign | ast.Assign) and part.value is not None:
                (target,) = part.targets if isinstance(part, ast.Assign) else [part.target]
                if isinstance(target, ast.Name) and target.id in registry.declares:
                    found.setdefault(target.id, module.value(part.value))
        return found

    def _bodies(self, node: ast.AST) -> Iterator[tuple[_Module, ast.stmt]]:
        """The statements of a class, then those of its bases in raprune."""
        if not isinstance(node, ast.ClassDef):
            return
        yield from ((self, part) for part in node.body)
        for base in node.bases:
            module, name = self._imported.get(ast.unparse(base), ("", ast.unparse(base)))
            owner = _module(module) if module.startswith("raprune.") else self
            yield from owner._bodies(owner.nodes.get(name, base))


_module = cache(_Module)


def _imported(module: str, name: str) -> Any:
    first, *inner = module.split(".")
    if first == "raprune" and inner[0] not in LIGHT:
        return _module(module)[name]
    if first == "raprune" or first in sys.stdlib_module_names or first in KNOWN:
        return getattr(importlib.import_module(module), name)
    raise KeyError(name)


def _changed_first(node: ast.ClassDef, base: type[Settings]) -> set[str]:
    """Keys whose values a validator may change before their types are checked: any value is right for those."""
    fields = {
        part.target.id for part in node.body if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)
    }
    changed: set[str] = set()
    for part in node.body:
        inside = [node for line in getattr(part, "body", ()) for node in ast.walk(line)]
        texts = {n.value for n in inside if isinstance(n, ast.Constant) and isinstance(n.value, str)}
        for call in getattr(part, "decorator_list", ()):
            if re.search(r"_validator\(.*mode='(before|wrap|plain)'", ast.unparse(call)):
                changed |= {ast.literal_eval(arg) for arg in call.args} or {*fields, *base.model_fields, *texts}
    return {key for key in changed if key.isidentifier()}
