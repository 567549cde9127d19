"""The part of a page, between two marks, that a benchmark writes anew."""

from __future__ import annotations

import re

BEGIN, END = "<!-- make gpu: begin -->", "<!-- make gpu: end -->"


def replaced(page: str, block: str) -> str:
    """``page`` with ``block`` between its marks."""
    found = re.compile(f"{re.escape(BEGIN)}\n.*?{re.escape(END)}", re.DOTALL)
    if len(found.findall(page)) != 1:
        raise SystemExit(f"the file must have {BEGIN} and, after it, {END}, once each")
    return found.sub(lambda _: f"{BEGIN}\n{block}\n{END}", page)
