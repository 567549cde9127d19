"""The study's own code, packed for the nodes of a cluster: Ray unpacks it once on each, in front of what is there.

Packed are the modules that this process imported from its user's folders: packages whole, with the files in them, and
beside a single file the other Python files of its folder, which it may import later. Data are not code: a package that
is too large is refused.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from raprune.errors import InputError
from raprune.identity.code import is_own_file, own_modules
from raprune.registry import is_imported
from raprune.study import TrialSpec
from raprune.system.paths import PACKAGE

MOST_BYTES = 256 * 2**20
"""Ray's head keeps the packed code in memory and sends it to every node; it takes twice this at most."""
MOST_NAMED = 3
"""Files that an error names."""
PROGRAM = {"__main__", "__mp_main__"}
"""Names of the program itself, by which nobody can import it elsewhere; multiprocessing adds the second."""


def named_modules(trials: Iterable[TrialSpec]) -> list[str]:
    """The top-level modules of the import paths that ``trials`` name."""
    parts = (part.name for trial in trials for part in (trial.model, trial.dataset, trial.score))
    return sorted({name.partition(":")[0].partition(".")[0] for name in parts if is_imported(name)})


def own_code() -> dict[str, list[Path]]:
    """Top-level module -> its file, or the folders of its package, of each that this process imported from the user."""
    is_own = own_modules()
    names = {full.partition(".")[0] for full in list(sys.modules) if is_own(full)} - PROGRAM
    found = {name: [place for place in _places(name) if _is_users(place)] for name in sorted(names)}
    return {name: places for name, places in found.items() if places}


def _places(module: str) -> list[Path]:
    loaded = sys.modules.get(module)
    folders, file = getattr(loaded, "__path__", None), getattr(loaded, "__file__", None)
    return [Path(place) for place in folders or ([file] if file is not None else [])]


def _is_users(place: Path) -> bool:
    return place.exists() and is_own_file(place) and place.resolve() != PACKAGE.resolve().parent / "analysis"


@contextlib.contextmanager
def packed(code: dict[str, list[Path]]) -> Iterator[Path | None]:
    """A folder with all of ``code``, as one folder of the import path; ``None`` if there is none. It goes afterwards.

    Raises :class:`InputError` if the code is too large.
    """
    if not code:
        yield None
        return
    files = _files(code)
    _check_size(files)
    with tempfile.TemporaryDirectory(prefix="raprune-code-") as folder:
        for name, file in files.items():
            there = Path(folder) / name
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, there)
        yield Path(folder)


def _files(code: dict[str, list[Path]]) -> dict[str, Path]:
    """Path among the packed files -> file."""
    single = [place for places in code.values() for place in places if place.is_file()]
    files = {file.name: file for place in single for file in place.parent.glob("*.py") if file.is_file()}
    files |= {file.name: file for file in single}
    for name, places in code.items():
        for folder in (place for place in places if place.is_dir()):
            files |= {str(Path(name) / file.relative_to(folder)): file for file in _below(folder)}
    return files


def _below(folder: Path) -> Iterator[Path]:
    """The files of a package, without hidden ones and what Python compiled."""
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name != "__pycache__" and not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and not name.endswith(".pyc") and (Path(where) / name).is_file():
                yield Path(where) / name


def _check_size(files: dict[str, Path]) -> None:
    sizes = {file: file.stat().st_size for file in files.values()}
    total = sum(sizes.values())
    if total <= MOST_BYTES:
        return
    largest = sorted(sizes, key=lambda file: sizes[file], reverse=True)[:MOST_NAMED]
    listed = ", ".join(f"{file} ({sizes[file] / 2**20:.0f} MiB)" for file in largest)
    raise InputError(
        f"the study's own code is {total / 2**20:.0f} MiB, and at most {MOST_BYTES / 2**20:.0f} MiB are sent to a "
        f"cluster's nodes; its largest files are {listed}: move data out of the packages that the study imports (the "
        "data set itself is sent apart), or install the packages on every node"
    )
