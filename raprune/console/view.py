"""A snapshot of a study as a person sees it: what runs, how far it is, and how long it will take."""

from __future__ import annotations

import time

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from raprune.console.snapshot import Seen, Snapshot, TrialView
from raprune.study.wording import counted

WIDE = 80
"""Columns from which the learning of an agent is shown, too."""
SHOWN = 8
"""Running trials, or ended ones, that a view shows at most, however high the terminal is."""
STYLES = {"completed": "green", "failed": "red", "stopped": "yellow"}


def view(snapshot: Snapshot, console: Console, now: float | None = None) -> RenderableType:
    """The study while it runs; ``now`` in seconds since 1970."""
    now = time.time() if now is None else now
    parts: list[RenderableType] = [Text(head(snapshot, now), "bold")]
    parts += [Text(about, "dim") for about in (snapshot.baselines, snapshot.evaluators) if about]
    running = [trial for trial in snapshot.trials if trial.status == "running"]
    if running:
        parts.append(_running(running[: _rows(console)], console.width))
    if more := len(running) - _rows(console):
        parts += [Text(f"and {more} more", "dim")] if more > 0 else []
    return Group(*parts)


def watched(seen: Seen, console: Console, now: float | None = None) -> RenderableType:
    """The study as another process sees it: ended trials, running ones, and whether it runs at all."""
    now = time.time() if now is None else now
    snapshot = seen.snapshot
    over = [trial for trial in snapshot.trials if trial.status in STYLES]
    parts: list[RenderableType] = []
    if over:
        cut = seen.runs and console.is_terminal  # what stays in place must fit
        room = max(_rows(console), console.height - 8 - SHOWN) if cut else len(over)
        if hidden := len(over) - room:
            parts += [Text(f"{counted(hidden, 'trial')} before these", "dim")] if hidden > 0 else []
        parts += [ended_line(trial) for trial in over[-room:]]
    if seen.note:
        parts.append(Text(seen.note, style="yellow"))
    if seen.runs:
        return Group(*parts, view(snapshot, console, now))
    return Group(*parts, Text(standing(seen, now), style="bold"))


def standing(seen: Seen, now: float) -> str:
    """What became of a study that does not run, and the way on."""
    snapshot = seen.snapshot
    counts = ", ".join(f"{n} {status}" for status in STYLES if (n := snapshot.count(status)))
    if seen.state() == "ended":
        return f"{snapshot.study}: ended, {counts}"
    waiting = len(snapshot.trials) - sum(map(snapshot.count, STYLES))
    left = ", ".join(filter(None, (counts, f"{waiting} not ended" if waiting else "")))
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(min(max(0.0, snapshot.updated), 2.0**40)))
    way_on = seen.command or "the command or call that started it"
    return f"{snapshot.study}: not running since {when} ({left}); to continue from the last committed layers: {way_on}"


def head(snapshot: Snapshot, now: float) -> str:
    """``quickstart  0:45  3 of 10 trials  12 candidates/s  3:20 left``."""
    over = sum(map(snapshot.count, STYLES))
    parts = [
        snapshot.study,
        duration(now - snapshot.started),
        f"{over} of {counted(max(len(snapshot.trials), snapshot.wanted or 0), 'trial')}",
    ]
    if snapshot.phase:
        parts.append(snapshot.phase)
    else:
        parts += [rate(snapshot.rate), left(snapshot.left_s, now - snapshot.updated)]
    return "  ".join(filter(None, parts))


def rate(value: float | None) -> str:
    """``12 candidates/s``; empty where none was asked for."""
    if not value:
        return ""
    return f"{value:.0f} candidates/s" if value >= 10 else f"{value:.1f} candidates/s"


def left(left_s: float | None, age_s: float = 0.0) -> str:
    """``0:07 left``, of what was left ``age_s`` ago; empty where it is unknown."""
    if left_s is None:
        return ""
    rest = left_s - max(0.0, age_s)
    return f"{duration(rest)} left" if rest >= 1 else "finishing"


def ended_line(trial: TrialView) -> Text:
    """``completed: agent, drop_bound 2: 57.4% of filters pruned, drop +1.4 points``."""
    said = [] if trial.pruning_ratio is None else [f"{trial.pruning_ratio:.1%} of filters pruned"]
    said += [] if trial.score_drop is None else [f"drop {trial.score_drop:+.1f} points"]
    status = "dominated" if trial.dominated else trial.status
    return Text(": ".join(filter(None, (status, trial.label, ", ".join(said)))), STYLES[trial.status])


def duration(seconds: float) -> str:
    """``0:07``, ``1:00:05``."""
    minutes, rest = divmod(int(min(max(0.0, seconds), 1e9)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _running(trials: list[TrialView], width: int) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    names = ["trial", "layer", "", "pruned", "drop", *(["update", "reward"] if width >= WIDE else [])]
    for name in names:
        text = name in ("trial", "layer")
        width_of = None if text else 6  # names are cut short where the terminal is narrow, numbers are not
        table.add_column(name, justify="left" if text else "right", no_wrap=True, min_width=width_of)
    for trial in trials:
        row = [trial.label, trial.layer, f"{min(trial.layers_done + 1, trial.num_layers)}/{trial.num_layers}"]
        row += [_maybe(trial.pruning_ratio, "{:.1%}"), _maybe(trial.score_drop, "{:+.1f}")]
        row += [str(trial.updates), _maybe(trial.reward, "{:+.3f}")] if width >= WIDE else []
        table.add_row(*row)
    return table


def _maybe(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def _rows(console: Console) -> int:
    """Trials for which there is room above the prompt."""
    return max(1, min(SHOWN, console.height - 5))
