"""A section of the report's page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Section:
    """One part of the page, under a heading of its own."""

    id: str
    """Of the element in the page, and of the link to it."""
    title: str
    body: str
    """HTML. What it shows of a study is escaped (``html.escape``)."""
    data: Any = None
    """Plain data for the script: what JSON can hold. Numbers that are unknown are ``None``."""
    start: str = ""
    """The script's function: ``raprune.sections[start](element, data)`` is called once the page is there."""
    web: tuple[str, ...] = ()
    """Names of the files of ``web/`` it needs beside :data:`analysis.page.document.ALWAYS`: ``.js`` and ``.css``."""
    kind: str = ""
    """Class of the element."""
