"""Calls the report generator, ``analysis/plots.py``."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any


def write_report(*folders: Path, out: Path | None = None, formats: Collection[str] = ()) -> Path:
    """Draw the report of the studies in ``folders`` into ``out``; returns its page.

    ``out`` is ``report`` inside the folder of a single study by default. ``formats`` are files written beside the page:
    ``png``, ``svg``, ``csv``, ``latex``.
    """
    page: Path = _plots().write_report(*folders, out=out, formats=formats)
    return page


def report_lines(page: Path, formats: Collection[str]) -> list[str]:
    """What was written: the page, and how many figures in which formats."""
    lines: list[str] = _plots().told(page, formats)
    return lines


def _plots() -> Any:
    import importlib
    import importlib.util

    # the wheel has analysis/ inside raprune; a checkout has it beside raprune
    in_wheel = importlib.util.find_spec("raprune.analysis") is not None
    return importlib.import_module("raprune.analysis.plots" if in_wheel else "analysis.plots")
