"""The studies that come with raprune, by name."""

from __future__ import annotations

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

    Raises :class:`InputError` where a bare name is neither; any other path is left for the reader to refuse.
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
    return given
