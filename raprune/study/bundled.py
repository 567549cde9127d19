"""The studies that come with raprune, by name."""

from __future__ import annotations

import contextlib
from difflib import get_close_matches
from pathlib import Path

from raprune.errors import InputError
from raprune.system.paths import PACKAGE


def bundled_studies() -> dict[str, Path]:
    """Name -> file. The wheel has studies/ inside raprune; a checkout has it beside raprune."""
    inside = PACKAGE / "studies"
    folder = inside if inside.is_dir() else PACKAGE.parent / "studies"
    return {file.stem: file for file in sorted(folder.glob("*.yaml"))}


def find_study(given: Path) -> Path:
    """The file that ``given`` means: itself where it exists, else the bundled study of that name.

    Raises :class:`InputError` where a bare name is neither, or where no file has that path; what else is wrong with
    a path is left for the reader to tell.
    """
    known = bundled_studies()
    if given.exists():
        return given
    if given.name == str(given) and not given.suffix:
        if given.name in known:
            return known[given.name]
        from raprune.registry import nearest

        hint = nearest(given.name, list(known))
        raise InputError(f"no file here and no study that comes with raprune is called {given.name!r}{hint}")
    if given.stem in known and given.suffix in (".yaml", ".yml"):
        raise InputError(f"{given}: no such file; raprune comes with a study of this name: raprune study {given.stem}")
    try:
        given.lstat()
    except FileNotFoundError:
        raise InputError(f"{given}: no such file{_near(given, list(known))}") from None
    except OSError:  # it may be there
        pass
    return given


def _near(given: Path, known: list[str]) -> str:
    """Which study files beside ``given``, or of ours, have names like its own; else the way to a first one."""
    beside: list[Path] = []
    with contextlib.suppress(OSError):
        beside = [file for file in given.parent.iterdir() if file.suffix in (".yaml", ".yml")]
    close = get_close_matches(given.name, [file.name for file in beside], n=3)
    near = [str(given.with_name(name)) for name in close]
    near += [f"{name}, which comes with raprune" for name in get_close_matches(given.stem, known, n=1)]
    return f"; did you mean {' or '.join(near)}?" if near else "; `raprune init` writes a first study file"
