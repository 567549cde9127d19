"""Watches a study from its folder alone, without a connection to the process that runs it."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console
from rich.live import Live

from raprune.console.snapshot import Seen, look
from raprune.console.view import ended_line, head, standing, watched

LOOK_EVERY_S = 1.0
LINE_EVERY_S = 30.0
"""Where the output is not a terminal, a study that runs on is a line so often."""


def once(folder: Path, console: Console) -> None:
    """Print what the study in ``folder`` does now."""
    _show(look(folder), console)


def watch(folder: Path, console: Console) -> None:
    """Show the study in ``folder`` until it does not run any more, then how it ended.

    Raises :class:`raprune.errors.RapruneError` where the folder contains no readable study.
    """
    seen = look(folder)
    if console.is_terminal and not console.is_dumb_terminal:
        with Live(console=console, auto_refresh=False, transient=True) as live:
            while seen.runs:
                live.update(watched(seen, console), refresh=True)
                time.sleep(LOOK_EVERY_S)
                seen = look(folder)
    else:
        seen = _lines(seen, folder, console)
    _show(seen, console)


def _show(seen: Seen, console: Console) -> None:
    """Print what was found; lines are broken only where a terminal would do it."""
    console.print(watched(seen, console), soft_wrap=not console.is_terminal)


def _lines(seen: Seen, folder: Path, console: Console) -> Seen:
    """Print a line for each trial that ends, and one now and then; returns what was found once nothing runs."""
    told: set[str] = set()
    line_at = float("-inf")
    while seen.runs:
        over = [trial for trial in seen.snapshot.trials if trial.status in ("completed", "failed", "stopped")]
        for trial in over if told else ():
            if trial.trial_id not in told:
                console.print(ended_line(trial), soft_wrap=True)
        told |= {"", *(trial.trial_id for trial in over)}
        if time.monotonic() - line_at >= LINE_EVERY_S:
            line_at = time.monotonic()
            console.print(head(seen.snapshot, time.time()), highlight=False, soft_wrap=True)
        time.sleep(LOOK_EVERY_S)
        seen = look(folder)
    return seen


def summary(seen: Seen) -> dict[str, object]:
    """What a page shows: the snapshot, and sentences of the view."""
    now = time.time()
    running = [trial for trial in seen.snapshot.trials if trial.status == "running"]
    return {
        "state": seen.state(),
        "head": head(seen.snapshot, now) if seen.runs else standing(seen, now),
        "about": ", ".join(filter(None, (seen.snapshot.baselines, seen.snapshot.evaluators))),
        "note": seen.note,
        "running": [trial.model_dump() for trial in running] if seen.runs else [],
        "ended": [t.model_dump() for t in seen.snapshot.trials if t.status in ("completed", "failed", "stopped")],
    }
