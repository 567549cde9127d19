"""Files beside the page, on request: each figure as PNG and SVG, its table as CSV and as a LaTeX ``tabular``."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection
from pathlib import Path
from types import ModuleType

import pandas as pd

from raprune.results import write_text, written

from .latex import tabular

FORMATS = {"png": "png", "svg": "svg", "csv": "csv", "latex": "tex"}
"""What may be asked for, and the ending of its files."""
TABLES: dict[str, Callable[[pd.DataFrame], str]] = {"csv": lambda frame: frame.to_csv(index=False), "latex": tabular}
"""Of them, those that hold a figure's table."""


class Files:
    """Writes the figures' files into ``folder`` and removes older ones."""

    def __init__(self, folder: Path, formats: Collection[str]) -> None:
        self.folder, self.formats = folder, formats

    def save(self, module: ModuleType, frame: pd.DataFrame) -> list[str]:
        """Write the files of one figure; their names. Those not asked for, or of a figure without data, are removed."""
        name = module.__name__.rpartition(".")[2]
        wanted = [kind for kind in FORMATS if kind in self.formats and not frame.empty]
        for kind, ending in FORMATS.items():
            if kind not in wanted:
                (self.folder / f"{name}.{ending}").unlink(missing_ok=True)
        if pictures := [kind for kind in wanted if kind not in TABLES]:
            self._pictures(module, frame, name, pictures)
        for kind in wanted:
            if kind in TABLES:
                plain = frame[[column for column in frame if not isinstance(frame[column].iloc[0], bytes)]]
                write_text(self.folder / f"{name}.{FORMATS[kind]}", TABLES[kind](plain))
        return [f"{name}.{FORMATS[kind]}" for kind in wanted]

    def _pictures(self, module: ModuleType, frame: pd.DataFrame, name: str, kinds: Collection[str]) -> None:
        import matplotlib as mpl  # a second that a page alone does not need

        from .style import RC

        with mpl.rc_context(RC):
            figure = module.draw(frame)
            for kind in kinds:
                dated = {"Date": None} if kind == "svg" else None  # the same rows give the same file
                with written(self.folder / f"{name}.{kind}") as aside, warnings.catch_warnings():
                    warnings.filterwarnings("ignore", "Glyph .* missing from")  # the SVG has it, and PNGs show a box
                    figure.savefig(aside, format=kind, dpi=144, bbox_inches="tight", metadata=dated)
