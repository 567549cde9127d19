"""Where the command line prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def open_console(*, stderr: bool = False, width: int | None = None) -> Console:
    from rich.console import Console

    return Console(stderr=stderr, width=width)


def print_whole(table: Table, console: Console) -> None:
    """A table with nothing cut off, however narrow the terminal."""
    whole = console.measure(table, options=console.options.update(max_width=10_000)).maximum
    open_console(width=max(console.width, whole)).print(table)
