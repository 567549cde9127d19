"""Plug-ins: one decorator registers one file; its typed settings are its part of the study's schema.

A kind's folder is imported by name on first use; that is the only dynamic import here. To add a plug-in, put a file
into the folder of its kind:

    class MySettings(Settings):
        strength: float = 1.0
        \"\"\"What it means, and its unit.\"\"\"

    @METHODS.register("my_method", MySettings)
    class MyMethod(Method): ...
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict

from raprune.errors import InputError

T = TypeVar("T", bound=Callable[..., Any])
GIVEN_PREFIX = "python:"


class Settings(BaseModel):
    """Base of all settings: frozen, strict, no unknown keys, no NaN; a field's docstring is its description."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        validate_default=True,
    )

    def problems(self) -> list[tuple[str, str]]:
        """What is wrong beyond the fields' own rules, such as a missing file: (setting, message)."""
        return []

    def remedies(self) -> list[str]:
        """Command lines that mend :meth:`problems`."""
        return []

    def shortened(self) -> Self:
        """Settings of the same kind of work, but less of it: what an estimate times."""
        return self


@dataclass(frozen=True)
class Plugin:
    """A registered plug-in: ``make(settings, ...)`` builds it; further arguments are its kind's contract."""

    kind: str
    name: str
    settings: type[Settings]
    make: Callable[..., Any]
    declared: Mapping[str, Any] = field(default_factory=dict)
    """What the contract of its kind has it declare; empty for a user's own."""

    @property
    def summary(self) -> str:
        """First line of the docstring."""
        return (self.make.__doc__ or "").strip().splitlines()[0] if self.make.__doc__ else ""


MOST_KNOWN = 20
"""Names that an error lists at most."""


def nearest(name: str, known: list[str]) -> str:
    """``; did you mean 'x'?``, where a known name is close, followed by the known names, closest first."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    rest = sorted(known, key=lambda k: (-difflib.SequenceMatcher(None, name, k).ratio(), k))
    more = f" and {len(rest) - MOST_KNOWN} more" if len(rest) > MOST_KNOWN else ""
    return f"{hint} (known: {', '.join(rest[:MOST_KNOWN])}{more})"


class Registry:
    """All plug-ins of one kind, found in one folder.

    ``declares``: class attributes that every plug-in of the kind has, with their types. They say what it can before
    it is built.
    """

    def __init__(self, kind: str, package: str, **declares: type) -> None:
        self.kind = kind
        self.package = package
        self.declares = declares
        self._plugins: dict[str, Plugin] = {}
        self._loaded = False

    def register(self, name: str, settings: type[Settings] = Settings) -> Callable[[T], T]:
        """Class or function decorator; a second plug-in of the same name is a programmer's error."""

        def decorate(make: T) -> T:
            if name in self._plugins:
                raise AssertionError(f"two {self.kind} plug-ins are called {name!r}")
            declared = {key: getattr(make, key, None) for key in self.declares}
            for key, kind in self.declares.items():
                if not isinstance(declared[key], kind):
                    raise AssertionError(f"the {self.kind} plug-in {name!r} must declare {key} ({kind.__name__})")
            self._plugins[name] = Plugin(self.kind, name, settings, make, declared)
            return make

        return decorate

    def _load(self) -> dict[str, Plugin]:
        if (find := _FINDERS.get().ours) is not None:
            return find(self)
        if not self._loaded:
            package = importlib.import_module(self.package)
            for module in pkgutil.iter_modules(package.__path__):
                importlib.import_module(f"{self.package}.{module.name}")
            self._loaded = True
        return self._plugins

    def __iter__(self) -> Iterator[Plugin]:
        return iter(sorted(self._load().values(), key=lambda plugin: plugin.name))

    def names(self) -> list[str]:
        return sorted(self._load())

    def get(self, name: str) -> Plugin:
        """The plug-in called ``name``: ours, a user's own (``package.module:function``), or one passed in by a program.

        Raises :class:`InputError` for an unknown name, with the known names listed nearest first.
        """
        if is_given(name):
            return _given(self.kind, name)
        if ":" in name:
            return _FINDERS.get().own(self.kind, name)
        plugins = self._load()
        if name not in plugins:
            raise InputError(f"no {self.kind} is called {name!r}{nearest(name, list(plugins))}")
        return plugins[name]

    def build(self, name: str, settings: dict[str, Any], /, *args: Any, **context: Any) -> Any:
        """Validate ``settings`` (plain data) and build the plug-in with the context its kind asks for."""
        plugin = self.get(name)
        return plugin.make(plugin.settings.model_validate(settings), *args, **context)


class ImportedSettings(Settings):
    """Settings of a user's own plug-in: the keyword arguments of its function."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=True)


class GivenSettings(Settings):
    """Settings of a network or data set that a program passed in; further keys are passed on to it."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=True)

    digest: str
    """Digest of its content: the same name with another digest is another object."""


def given_name(what: str) -> str:
    """The name by which a study refers to a program's own network or data."""
    return f"{GIVEN_PREFIX}{what}"


def is_given(name: str) -> bool:
    """Whether ``name`` stands for an object that a program passed in, which no file and no module holds."""
    return name.startswith(GIVEN_PREFIX)


def _given(kind: str, name: str) -> Plugin:
    """An object that a program passed in, seen outside that program's run: only that program can build it."""

    def build(settings: GivenSettings, **context: Any) -> Any:
        raise InputError(
            f"{kind} {name} was passed to raprune.api.prune by a program and exists only in its memory: "
            "call prune again with the same network, data and out"
        )

    build.__doc__ = f"A {kind} that a program passed in."
    return Plugin(kind, name, GivenSettings, build)


def is_imported(name: str) -> bool:
    """Whether ``name`` is an import path."""
    return ":" in name and not is_given(name)


def not_imported(kind: str, name: str, settings: type[Settings] = ImportedSettings) -> Plugin:
    """A plug-in that has a name and settings, but cannot be built."""

    def build(*settings: Any, **context: Any) -> Any:
        raise InputError(f"{kind} {name!r} is not imported here (--no-import)")

    return Plugin(kind, name, settings, build)


def _imported(kind: str, name: str) -> Plugin:
    """A user's own function as a plug-in; it receives those parts of its kind's context that it has parameters for."""
    module, _, function = name.partition(":")
    try:
        make: Any = importlib.import_module(module)
        for part in function.split("."):
            if not hasattr(make, part):
                public = [known for known in dir(make) if not known.startswith("_")]
                raise InputError(f"{kind} {name!r} cannot be imported: {module} has no {part!r}{nearest(part, public)}")
            make = getattr(make, part)
    except InputError:
        raise
    except Exception as error:  # whatever the user's module raises when it is imported
        raise InputError(f"{kind} {name!r} cannot be imported: {type(error).__name__}: {error}") from error

    def build(settings: ImportedSettings, **context: Any) -> Any:
        given = settings.model_dump()
        known = inspect.signature(make).parameters
        takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in known.values())
        unknown = [key for key in given if key not in known]
        if unknown and not takes_any:
            raise InputError(f"{kind} {name!r} has no argument {unknown[0]!r}{nearest(unknown[0], list(known))}")
        wanted = {key: value for key, value in context.items() if key in known}
        return make(**{**wanted, **given})

    build.__doc__ = make.__doc__
    return Plugin(kind, name, ImportedSettings, build)


@dataclass(frozen=True)
class Finders:
    """How plug-ins are found: a user's own by kind and import path, ours by registry (``None`` imports its folder)."""

    own: Callable[[str, str], Plugin]
    ours: Callable[[Registry], dict[str, Plugin]] | None = None


_IMPORTING = Finders(_imported)
_FINDERS = ContextVar("finders", default=_IMPORTING)


@contextlib.contextmanager
def finding(finders: Finders) -> Iterator[None]:
    """Inside the block plug-ins are found by ``finders``."""
    token = _FINDERS.set(finders)
    try:
        yield
    finally:
        _FINDERS.reset(token)


def no_imports() -> contextlib.AbstractContextManager[None]:
    """Inside the block a user's own plug-ins have their names and settings, but their code is not imported."""
    return finding(Finders(not_imported))


MODELS = Registry("model", "raprune.plugins.models")
DATASETS = Registry("dataset", "raprune.plugins.datasets")
SCORES = Registry("score", "raprune.plugins.scores", unit=str, labels=str)
METHODS = Registry("method", "raprune.plugins.methods", ranks=bool, decision=str, criterion=bool, needs_norm=bool)
DECISIONS = Registry("decision", "raprune.plugins.decisions")
ORDERS = Registry("order", "raprune.plugins.orders")
ALLOCATIONS = Registry("allocation", "raprune.plugins.allocations")
REWARDS = Registry("reward", "raprune.plugins.rewards")
ENGINES = Registry("engine", "raprune.engine.engines", has_fidelities=bool, gives_up=bool, reuses=bool)
SCHEMES = Registry("scheme", "raprune.network.lowrank.schemes", needs_responses=bool)
FORMATS = Registry("format", "raprune.export.formats", quantises=bool, is_folder=bool, loaded_by=str)
EVALUATORS = Registry("evaluator", "raprune.evaluators")
SAMPLERS = Registry("sampler", "raprune.plugins.samplers")
SCHEDULERS = Registry("scheduler", "raprune.plugins.schedulers")
TRACKERS = Registry("tracker", "raprune.plugins.trackers")

KINDS = {
    r.kind: r
    for r in (
        MODELS, DATASETS, SCORES, METHODS, DECISIONS, ORDERS, ALLOCATIONS, REWARDS, EVALUATORS, ENGINES, SCHEMES,
        FORMATS, SAMPLERS, SCHEDULERS, TRACKERS,
    )
}  # fmt: skip
"""Every kind by its name in a study file; ``evaluator`` is chosen by ``--evaluators``."""
