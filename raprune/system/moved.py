"""Old module names that earlier versions documented: users' code that imports them still runs."""

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
    "raprune.scoring": "raprune.plugins.scores.base",
    "raprune.deciding": "raprune.plugins.methods.base",
    "raprune.search": "raprune.plugins.methods.search",
    "raprune.ordering": "raprune.plugins.orders.base",
    "raprune.rewarding": "raprune.plugins.rewards.base",
    "raprune.evaluating": "raprune.evaluators.base",
    "raprune.graph": "raprune.network.graph",
    "raprune.masks": "raprune.network.masks",
    "raprune.weights": "raprune.network.weights",
}


class _Moved(MetaPathFinder, Loader):
    """Finds an old name, and loads the module that has its content now: the same module, not a second one."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in MOVED else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        new = MOVED[spec.name]
        warnings.warn(f"{spec.name} has moved: import {new} instead", DeprecationWarning, stacklevel=2)
        module = importlib.import_module(new)
        self._own_spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._own_spec  # the import system has put the old name's there


def keep_moved_names() -> None:
    """Let imports of the old names work in this process."""
    if not any(isinstance(finder, _Moved) for finder in sys.meta_path):
        sys.meta_path.append(_Moved())
