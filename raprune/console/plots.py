"""Calls the report generator, ``analysis/plots.py``."""

from __future__ import annotations

from pathlib import Path


def write_report(folder: Path, out: Path | None = None) -> Path:
    """Draw the report of the study in ``folder`` into ``out`` (by default ``report`` inside it); returns its page."""
    import importlib
    import importlib.util

    # the wheel has analysis/ inside raprune; a checkout has it beside raprune
    in_wheel = importlib.util.find_spec("raprune.analysis") is not None
    plots = importlib.import_module("raprune.analysis.plots" if in_wheel else "analysis.plots")
    page: Path = plots.write_report(folder, out)
    return page
