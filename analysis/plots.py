"""Draw the report of a study, or of several compared: ``python analysis/plots.py results/quickstart``.

Writes ``report/index.html``, one page that needs nothing else. A figure is one file in ``figures/``: ``TITLE``,
``CAPTION``, ``select(tables) -> DataFrame``, ``charts(frame) -> list[Chart]`` for the page and ``draw(frame) ->
Figure`` for the files that ``--format`` asks for. Any other part of the page is one file in ``sections/``.
"""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import sys
from collections.abc import Collection
from pathlib import Path
from types import ModuleType

if not __package__:  # run as a script, perhaps in a checkout without an installed raprune
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __package__ = "analysis"
    importlib.import_module(__package__)

from raprune.errors import FileError, InputError, RapruneError, naming, translated
from raprune.results import write_text

from . import figures, sections
from .files import FORMATS, Files
from .page import Section, render_page
from .page.figures import figure_section, nothing_for
from .studies import Report, read_report


def modules_of(package: ModuleType) -> list[ModuleType]:
    """Every file of a folder, by its ``PLACE`` in the report."""
    names = [module.name for module in pkgutil.iter_modules(package.__path__)]
    modules = [importlib.import_module(f"{package.__name__}.{name}") for name in names]
    return sorted(modules, key=lambda module: module.PLACE)


def figure_modules() -> list[ModuleType]:
    """Every file of ``figures/``, by its ``PLACE`` in the report."""
    return modules_of(figures)


def write_report(*folders: Path, out: Path | None = None, formats: Collection[str] = ()) -> Path:
    """Write the report of the studies in ``folders`` into ``out``; its page's path.

    ``out`` is ``report`` inside the study's folder by default; the report of several studies belongs to none of them,
    so it must be given. ``formats`` are files of :data:`analysis.files.FORMATS` written beside the page. Those of an
    earlier report that are not asked for any more are removed. Raises :class:`raprune.errors.RapruneError` if a folder
    holds no study, its manifest is damaged, or ``out`` cannot be written to.
    """
    _check(folders, out, formats)
    report = read_report(folders)
    for message in report.damaged:
        print(f"left out of the report: {message}", file=sys.stderr)
    out = _writable(folders[0] / "report", "choose another place with --out") if out is None else _writable(out)
    page = out / "index.html"
    write_text(page, page_of(report, Files(out, formats)))
    return page


def told(page: Path, formats: Collection[str] = ()) -> list[str]:
    """What to say of a report that was written: ``report: PAGE``, and ``13 figures as svg in DIR``."""
    asked = [kind for kind in FORMATS if kind in formats]
    names = [module.__name__.rpartition(".")[2] for module in figure_modules()] if asked else []
    number = sum((page.parent / f"{name}.{FORMATS[asked[0]]}").is_file() for name in names)
    figures_said = f"{number} figure{'' if number == 1 else 's'} as {', '.join(asked)} in {page.parent}"
    return [f"report: {page}", *([figures_said] if asked else [])]


def page_of(report: Report, files: Files | None = None) -> str:
    """The page as HTML; ``files`` writes what stands beside it."""
    placed: list[tuple[float, Section]] = []
    for module in modules_of(sections):
        if (section := module.section(report)) is not None:
            placed.append((module.PLACE, section))
    empty = []
    for module in figure_modules():
        frame = module.select(report.tables)
        beside = files.save(module, frame) if files else []
        if frame.empty:
            empty.append(module)
        else:
            placed.append((module.PLACE, figure_section(module, frame, beside)))
    placed.sort(key=lambda pair: pair[0])
    return render_page(report, [section for _, section in placed], nothing_for(empty))


def _check(folders: Collection[Path], out: Path | None, formats: Collection[str]) -> None:
    if len(folders) > 1 and out is None:
        raise InputError("the report of several studies belongs to none of their folders: say where with --out DIR")
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise InputError(f"--format {unknown[0]} is unknown; known are {', '.join(FORMATS)}")


def _writable(out: Path, way_on: str = "choose another place") -> Path:
    """The folder ``out``, made if need be."""
    with naming(out, way_on):
        out.mkdir(parents=True, exist_ok=True)
    if not os.access(out, os.W_OK | os.X_OK):
        raise FileError(f"{out} is not writable: {way_on}")
    return out


def main() -> int:
    """Exit code 2 if a folder holds no study, or files cannot be read or written."""
    parser = argparse.ArgumentParser(prog="python analysis/plots.py", description="Draw the report of studies.")
    parser.add_argument(
        "folders", metavar="RESULTS", nargs="+", type=Path, help="folder of a study; several are compared"
    )
    parser.add_argument("--out", metavar="DIR", type=Path, help="where to write it [default: RESULTS/report]")
    parser.add_argument(
        "--format", metavar="LIST", default="", help=f"files beside the page: {','.join(FORMATS)} [default: none]"
    )
    given = parser.parse_args()
    try:
        with translated():
            formats = [name for name in given.format.replace(" ", "").split(",") if name]
            print(*told(write_report(*given.folders, out=given.out, formats=formats), formats), sep="\n")
    except RapruneError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
