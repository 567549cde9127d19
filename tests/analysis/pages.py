"""The page of a made study as tests read it."""

from __future__ import annotations

import gzip
import json
import re
from base64 import b64decode
from typing import Any

import pytest

from analysis import plots
from analysis.plots import page_of
from analysis.studies import report_of
from raprune.results import Tables


def html_of(tables: Tables) -> str:
    """Without our styles and scripts, and cells without their classes."""
    return bare(page_of(report_of(tables)))


def frame_of(tables: Tables) -> str:
    """The same page without its figures, which take most of its time: for tests of what stands around them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "figure_modules", list)
        return html_of(tables)


def bare(page: str) -> str:
    """The HTML alone: what a study can write into."""
    page = re.sub(r"<(style|script)[ >].*?</\1>", "", page, flags=re.S)
    return re.sub(r"<td class='(?:narrow|medium|wide)?'>|<td class='(?:medium |wide )?(failed)?'>", _cell, page)


def _cell(found: re.Match[str]) -> str:
    return "<td class='failed'>" if found[1] else "<td>"


def data_of(page: str) -> dict[str, Any]:
    """Section -> its data."""
    (packed,) = re.findall(r'id="packed-data">([^<]*)<', page)
    found: dict[str, Any] = json.loads(gzip.decompress(b64decode(packed)))
    return {section: data for section, (_, data) in found.items()}
