"""The way to the report generator, ``analysis/plots.py``."""

from __future__ import annotations

from pathlib import Path


def write_report(folder: Path, out: Path | None = None) -> Path:
    """Draw the report of the study in ``folder`` into ``out`` (``report`` inside it where there is none); its page."""
    import importlib
    import importlib.util

    # the wheel ships analysis/ inside raprune; in a checkout it lies beside it
    in_wheel = importlib.util.find_spec("raprune.analysis") is not None
    plots = importlib.import_module("raprune.analysis.plots" if in_wheel else "analysis.plots")
    page: Path = plots.write_report(folder, out)
    return page
