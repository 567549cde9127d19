"""Texts and data inside the page: compressed, and named in the policy by which a browser runs nothing else."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

WEB = Path(__file__).resolve().parents[1] / "web"
"""Scripts and styles of the page."""


def web_text(names: Iterable[str]) -> str:
    """The files of ``web/``, one after the other."""
    return "\n".join((WEB / name).read_text(encoding="utf-8") for name in names)


def packed(text: str) -> str:
    """Gzip in base64, without a date: the same text gives the same page."""
    return base64.b64encode(gzip.compress(text.encode("utf-8", "backslashreplace"), 9, mtime=0)).decode()


def as_json(data: Any) -> str:
    """Short JSON; a number that is not finite is an error."""
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def allowed(text: str) -> str:
    """The name by which a content security policy allows an inline script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
