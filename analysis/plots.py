"""Draw a study's report: ``python analysis/plots.py results/quickstart``.

Writes ``report/index.html`` with every figure as PNG and SVG and each figure's table as CSV. A figure is one file in
``figures/``: ``TITLE``, ``CAPTION``, ``select(tables) -> DataFrame`` and ``draw(frame) -> Figure``.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

if not __package__:  # run as a script, perhaps in a checkout without an installed raprune
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __package__ = "analysis"
    importlib.import_module(__package__)

import matplotlib as mpl
from matplotlib.figure import Figure

from raprune.errors import FileError, RapruneError, naming, translated
from raprune.results import Tables, read_study, write_text, written

from . import figures
from .harmless import harmless
from .page import Drawn, render_page
from .style import RC

PIXELS_AN_INCH = 96
"""On the page; keeps one size of letters in all figures."""


def figure_modules() -> list[ModuleType]:
    """Every file of ``figures/``, by its ``PLACE`` in the report."""
    names = [module.name for module in pkgutil.iter_modules(figures.__path__)]
    modules = [importlib.import_module(f"{figures.__name__}.{name}") for name in names]
    return sorted(modules, key=lambda module: module.PLACE)


@dataclass(frozen=True)
class _Files:
    folder: Path

    def save(self, module: ModuleType, tables: Tables) -> Drawn:
        """Compute and draw one figure. If it has no data, remove its older files."""
        name = module.__name__.rpartition(".")[2]
        frame = module.select(tables)
        if frame.empty:
            for kind in ("csv", "png", "svg"):
                (self.folder / f"{name}.{kind}").unlink(missing_ok=True)
            return Drawn(name, module.TITLE, module.CAPTION, width=None)
        plain = frame[[column for column in frame if not isinstance(frame[column].iloc[0], bytes)]]
        write_text(self.folder / f"{name}.csv", plain.to_csv(index=False))
        with mpl.rc_context(RC):
            figure = module.draw(frame)
            for kind in ("png", "svg"):
                self._picture(figure, f"{name}.{kind}", kind)
        return Drawn(name, module.TITLE, module.CAPTION, width=round(PIXELS_AN_INCH * figure.get_figwidth()))

    def _picture(self, figure: Figure, name: str, kind: str) -> None:
        dated = {"Date": None} if kind == "svg" else None  # the same rows give the same file
        with written(self.folder / name) as aside, warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing from")  # the SVG has it, and PNGs show a box
            figure.savefig(aside, format=kind, dpi=144, bbox_inches="tight", metadata=dated)


def write_report(folder: Path, out: Path | None = None) -> Path:
    """Write the report of the study in ``folder`` into ``out`` (``report`` inside it by default); its page's path.

    Raises :class:`raprune.errors.RapruneError` if the folder holds no study, one of its tables is damaged, or ``out``
    cannot be written to.
    """
    tables = harmless(read_study(folder))
    out = _writable(folder / "report", "choose another place with --out") if out is None else _writable(out)
    drawn = [_Files(out).save(module, tables) for module in figure_modules()]
    page = out / "index.html"
    write_text(page, render_page(tables, drawn))
    return page


def _writable(out: Path, way_on: str = "choose another place") -> Path:
    """The folder ``out``, made if need be."""
    with naming(out, way_on):
        out.mkdir(parents=True, exist_ok=True)
    if not os.access(out, os.W_OK | os.X_OK):
        raise FileError(f"{out} is not writable: {way_on}")
    return out


def main() -> int:
    """Exit code 2 if the folder holds no study, or files cannot be read or written."""
    if len(sys.argv) not in (2, 3):
        print("usage: python analysis/plots.py RESULTS_FOLDER [REPORT_FOLDER]", file=sys.stderr)
        return 2
    try:
        with translated():
            print(f"report: {write_report(*map(Path, sys.argv[1:]))}")
    except RapruneError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
