"""The answer, before anything else."""

from __future__ import annotations

from ..answer import answer_html
from ..page import Section
from ..studies import Report

PLACE = -3


def section(report: Report) -> Section:
    """For each drop bound the best trial, then a verdict on the comparisons."""
    return Section("answer", "The answer", answer_html(report.tables, report.homes), web=("answer.css",))
