"""All trials: the table, and what the page shows of one trial when it is opened."""

from __future__ import annotations

from html import escape

from ..labels import in_order, text
from ..page import Section
from ..studies import Report
from ..trial_views import trial_views
from ..trials_table import trials_table

PLACE = 1000


def section(report: Report) -> Section:
    """The table; the script opens a trial, sorts and filters."""
    tables = report.tables
    folder = "" if report.several or not report.folders else f"{report.folders[0]}/"
    units = " or ".join(in_order(text(unit) or "percent" for unit in tables.trials["score_unit"])) or "percent"
    body = f"""<p class="soft">Scores are in {escape(units)}, drops and bounds in points of it: positive is worse, red
is over the bound. A matched trial shows its partner's bound and has none itself. Behind the drop on the guard images,
in brackets, is the upper limit of the drop on fresh images at 95% confidence, by a paired test on the guard.
Candidates are the masks scored for the trial, those that found the order of its layers included (0 for a matched
trial: its partner searched); images scored are the validation images that they saw, none where the score was known
before. The rows are in <code>{escape(folder)}trials/*/trial.parquet</code>; only trials of the present study are
shown.</p>
<div class="filters"></div>
<div class="scroll">{trials_table(tables)}</div>"""
    return Section("trials", "All trials", body, trial_views(report), "trials", ("drawer.js", "table.js"), "wide")
