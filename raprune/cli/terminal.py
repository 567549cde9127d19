"""Where the command line prints. Texts from files are printed literally: they cannot control the terminal."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment
    from rich.table import Table
    from rich.text import Text

STEERING = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters except tab and newline, changes of the writing direction, and lone surrogates."""


def printable(text: str) -> str:
    """``text`` with every character escaped that would control the terminal."""
    return STEERING.sub(lambda match: ascii(match[0])[1:-1], text)


def open_console(*, stderr: bool = False, width: int | None = None) -> Console:
    """A console that reads no text as markup and escapes what would control the terminal."""
    from rich.console import Console
    from rich.segment import Segment

    class Plain(Console):
        def render_str(self, text: str, **how: Any) -> Text:
            return super().render_str(printable(text), **how)

        def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
            for segment in super().render(renderable, options):
                text, style, control = segment
                yield segment if control else Segment(printable(text), style)

    return Plain(stderr=stderr, width=width, markup=False, emoji=False)


def print_whole(table: Table, console: Console) -> None:
    """A table with nothing cut off, however narrow the terminal."""
    whole = console.measure(table, options=console.options.update(max_width=10_000)).maximum
    open_console(width=max(console.width, whole)).print(table)
