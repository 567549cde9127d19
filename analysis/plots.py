"""Draw a study's report: ``python analysis/plots.py results/quickstart``.

Writes ``report/index.html`` with every figure as PNG and SVG and each figure's table as CSV. A figure is one file in
``figures/``: ``TITLE``, ``CAPTION``, ``select(tables) -> DataFrame`` and ``draw(frame) -> Figure``.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

if not __package__:  # run as a script, perhaps from a checkout where raprune is not installed
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __package__ = "analysis"
    importlib.import_module(__package__)

import matplotlib as mpl
from matplotlib.figure import Figure

from raprune.results import Tables, read_study, write_text

from . import figures
from .page import Drawn, render_page
from .style import RC

PIXELS_AN_INCH = 96
"""Of the page: one size of letters in all figures."""


def figure_modules() -> list[ModuleType]:
    """Every file of ``figures/``, by its ``PLACE`` in the report."""
    names = [module.name for module in pkgutil.iter_modules(figures.__path__)]
    modules = [importlib.import_module(f"{figures.__name__}.{name}") for name in names]
    return sorted(modules, key=lambda module: module.PLACE)


@dataclass(frozen=True)
class _Files:
    folder: Path

    def save(self, module: ModuleType, tables: Tables) -> Drawn:
        """Compute and draw one figure; one without data is told as such, and its older files are taken away."""
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
        aside = self.folder / f".{name}.{os.getpid()}"
        dated = {"Date": None} if kind == "svg" else None  # the same rows give the same file
        figure.savefig(aside, format=kind, dpi=144, bbox_inches="tight", metadata=dated)
        os.replace(aside, self.folder / name)


def write_report(folder: Path) -> Path:
    """Write the report of the study in ``folder`` and give back the path of its page."""
    tables = read_study(folder)
    out = folder / "report"
    out.mkdir(parents=True, exist_ok=True)
    drawn = [_Files(out).save(module, tables) for module in figure_modules()]
    page = out / "index.html"
    write_text(page, render_page(tables, drawn))
    return page


def main() -> int:
    """Exit code 2 where the folder holds no study."""
    from raprune.errors import RapruneError

    if len(sys.argv) != 2:
        print("usage: python analysis/plots.py RESULTS_FOLDER", file=sys.stderr)
        return 2
    try:
        print(f"report: {write_report(Path(sys.argv[1]))}")
    except RapruneError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
