"""Where modules lay in earlier versions: code of a user's own that imports them still runs, and is still the same code.

A fingerprint of a user's code names what it uses of raprune by module (:mod:`raprune.identity`). It goes by the earlier
names, so that a baseline made before a module moved is found again.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {
    "raprune.data": "raprune.plugins.datasets.base",
    "raprune.imagefiles": "raprune.plugins.datasets.image_files",
    "raprune.normalisation": "raprune.plugins.datasets.normalisation",
    "raprune.scoring": "raprune.plugins.scores.base",
    "raprune.dense": "raprune.plugins.scores.per_pixel",
    "raprune.deciding": "raprune.plugins.methods.base",
    "raprune.search": "raprune.plugins.decisions.bisection",
    "raprune.ordering": "raprune.plugins.orders.base",
    "raprune.rewarding": "raprune.plugins.rewards.base",
    "raprune.pretrained": "raprune.plugins.models.pretrained",
    "raprune.models": "raprune.plugins.models",
    "raprune.datasets": "raprune.plugins.datasets",
    "raprune.scores": "raprune.plugins.scores",
    "raprune.methods": "raprune.plugins.methods",
    "raprune.orders": "raprune.plugins.orders",
    "raprune.rewards": "raprune.plugins.rewards",
    "raprune.evaluating": "raprune.evaluators.base",
    "raprune.graph": "raprune.network.graph",
    "raprune.lowrank": "raprune.network.lowrank",
    "raprune.masks": "raprune.network.masks",
    "raprune.weights": "raprune.network.weights",
    "raprune.seeds": "raprune.study.seeds",
}
"""Earlier names of modules and packages that code of a user's own may import -> today's."""
_EARLIER = {new: old for old, new in MOVED.items()}


def earlier_name(module: str) -> str:
    """The name of ``module`` before it moved; its own where it is not one of :data:`MOVED`."""
    return _renamed(module, _EARLIER)


def keep_earlier_names() -> None:
    """Let imports of the earlier names work in this process."""
    if not any(isinstance(finder, _Moved) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Moved())  # before the finder that would load a second copy of a moved package's module


class _Moved(MetaPathFinder, Loader):
    """Finds an earlier name and loads what it names today: the same module, not a second one."""

    def __init__(self) -> None:
        self._specs: dict[str, ModuleSpec | None] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return None if _renamed(fullname, MOVED) == fullname else ModuleSpec(fullname, self)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        new = _renamed(spec.name, MOVED)
        warnings.warn(f"{spec.name} has moved: import {new} instead", DeprecationWarning, stacklevel=2)
        module = importlib.import_module(new)
        self._specs[new] = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._specs.pop(module.__name__)  # the import system has put the earlier name's there


def _renamed(module: str, names: dict[str, str]) -> str:
    """``module`` by the longest of ``names`` that it is, or lies in."""
    parts = module.split(".")
    for end in range(len(parts), 1, -1):
        known = names.get(".".join(parts[:end]))
        if known is not None:
            return ".".join([known, *parts[end:]])
    return module
