"""Commands as the page shows them."""

from __future__ import annotations

import re
from html import escape

OPTION = re.compile(r"(?<!\S)--?[a-z][\w-]*")


def command_html(command: str) -> str:
    """A command as HTML, escaped; its options are not broken at their hyphens."""
    marked = OPTION.sub(r"<span class='option'>\g<0></span>", escape(command))
    return f"<code>{marked}</code>"
