"""What a person sees while a study runs: a live table on a terminal, a line for each committed layer elsewhere."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from raprune.study.wording import counted

MAX_ROWS = 12
"""Running trials shown at a time."""
ENDED = ("completed", "failed", "stopped")
"""Statuses of trials that are over in this run."""


COMMIT_WORK = 10
"""The work of committing a layer, in candidates: matched trials do nothing else."""


@dataclass
class TrialProgress:
    """What is known of one trial."""

    label: str
    expected: int
    """Its work, in candidates: the most that it can ask for, and :data:`COMMIT_WORK` per layer."""
    num_layers: int
    layers_done: int = 0
    layer: str = ""
    layer_candidates: int = 0
    pruning_ratio: float = 0.0
    reward: float | None = None
    updates: int = 0
    status: str = "waiting"
    """waiting, running, completed, failed, stopped."""

    @property
    def share_done(self) -> float:
        """Share of its candidates, roughly: whole layers, and what the current one has asked for."""
        if self.status in ENDED:
            return 1.0
        a_layer = max(1.0, self.expected / max(1, self.num_layers))
        return min(1.0, (self.layers_done + min(1.0, self.layer_candidates / a_layer)) / max(1, self.num_layers))


@dataclass
class StudyProgress:
    """A :class:`raprune.launch.Watch` that draws; create it, then use it as a context manager."""

    console: Console
    trials: dict[str, TrialProgress]
    has_budget: bool = False
    """Whether a trial that stops early does so because the study's budget is spent."""
    started: float = field(default_factory=time.monotonic)
    num_candidates: int = 0
    num_scored: int = 0
    text: str = ""
    first_reward_s: float | None = None
    _live: Live | None = None
    _trials_since: float | None = None
    _done_before: float = 0.0

    def __enter__(self) -> StudyProgress:
        if self.console.is_terminal:
            self._live = Live(self, console=self.console, refresh_per_second=4, transient=True)
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()

    def phase(self, text: str) -> None:
        if text:
            self._line(Text(f"{self.clock()}  {text}", style="dim"))
        elif self._trials_since is None:
            self._trials_since = time.monotonic()
            self._done_before = self._work_done()
        self.text = text

    def told(self, trial_id: str, progress: dict[str, Any]) -> None:
        trial = self.trials[trial_id]
        trial.status = "running"
        trial.layer = progress.get("layer", trial.layer)
        trial.num_layers = progress.get("num_layers", trial.num_layers)
        trial.layers_done = progress.get("prune_step", trial.layers_done)
        trial.layer_candidates = progress.get("num_candidates", 0)
        trial.updates = progress.get("num_updates", trial.updates)
        trial.reward = progress.get("reward", trial.reward)
        self.num_candidates += progress.get("new_candidates", 0)
        self.num_scored += progress.get("new_scored", 0)
        if self.first_reward_s is None and "reward" in progress:
            self.first_reward_s = time.monotonic() - self.started
            self._line(Text(f"{self.clock()}  first reward {progress['reward']:+.3f} ({trial.label}, {trial.layer})"))
        if self._live is None and "low_rank" in progress:
            self._line(Text(f"{self.clock()}  {trial.label}: {_factorised(progress['low_rank'])}"))
        if progress.get("num_diverged"):
            note = f"{self.clock()}  {trial.label}: {trial.layer}: its fine-tune diverged (NaN or infinite weights) "
            self._line(Text(f"{note}and was discarded; lower finetune.learning_rate", style="yellow"))
        if "pruning_ratio" in progress:
            trial.pruning_ratio = progress["pruning_ratio"]
            trial.layer_candidates = 0
            if self._live is None:
                self._committed(trial, progress)

    def ended(self, trial_id: str, status: str, folder: Path) -> None:
        trial = self.trials[trial_id]
        if trial.status == status:
            return
        trial.status = status
        if status == "failed":
            self._line(Text(f"{self.clock()}  failed: {trial.label}; see {folder / 'error.txt'}", style="red"))
        elif status == "completed" and trial.layers_done:
            note = f"{self.clock()}  completed: {trial.label}, {trial.pruning_ratio:.1%} of filters pruned"
            self._line(Text(note, style="green"))
        elif status == "stopped" and trial.layers_done:
            why = "the budget is spent" if self.has_budget else "stopped"
            note = f"{self.clock()}  {why}: {trial.label}, {trial.pruning_ratio:.1%} of filters pruned"
            self._line(Text(note, style="yellow"))

    def _committed(self, trial: TrialProgress, progress: dict[str, Any]) -> None:
        ratio, drop = progress.get("committed_pruning_ratio", 0.0), progress.get("val_score_drop", 0.0)
        reward = "" if trial.reward is None else f", reward {trial.reward:+.3f}"
        self._line(
            Text(
                f"{self.clock()}  {trial.label}: {trial.layer} ({trial.layers_done}/{trial.num_layers}) "
                f"{ratio:.0%} pruned{reward}, drop {drop:+.1f} points; "
                + ", ".join(filter(None, (f"{self._rate()} candidates/s", self._left())))
            )
        )

    def _line(self, text: Text) -> None:
        self.console.print(text, highlight=False, soft_wrap=True)

    def clock(self) -> str:
        """Time since the start."""
        return _duration(time.monotonic() - self.started)

    def _rate(self) -> str:
        """Candidates asked for per second, memo included, since the first trial began."""
        since = self._trials_since or time.monotonic()
        rate = self.num_candidates / max(1e-9, time.monotonic() - since)
        return f"{rate:.0f}" if rate >= 10 else f"{rate:.1f}"

    def _work_done(self) -> float:
        return sum(t.expected * t.share_done for t in self.trials.values())

    def _left(self) -> str:
        """Time left, as ``0:07 left``; empty before a fiftieth is done.

        What remains after the last candidate (the last fine-tunes, the test scores) is not included.
        """
        total = sum(t.expected for t in self.trials.values()) - self._done_before
        done = self._work_done() - self._done_before
        if self._trials_since is None or total <= 0 or done < 0.02 * total:
            return ""
        left_s = (time.monotonic() - self._trials_since) * (total - done) / done
        return f"{_duration(left_s)} left" if left_s >= 1 else "finishing"

    def __rich__(self) -> RenderableType:
        ended = sum(t.status in ENDED for t in self.trials.values())
        head = f"{self.clock()}  {ended} of {counted(len(self.trials), 'trial')}"
        if self.text:
            head += f"  {self.text}"
        else:
            head += f"  {counted(self.num_candidates, 'candidate')}, {self._rate()}/s  {self._left()}"
        table = Table(box=None, pad_edge=False, header_style="dim")
        for name in ("trial", "layer", "", "pruned", "update", "reward"):
            table.add_column(name, justify="left" if name in ("trial", "layer") else "right", no_wrap=True)
        running = [t for t in self.trials.values() if t.status == "running"]
        for trial in running[:MAX_ROWS]:
            reward = "" if trial.reward is None else f"{trial.reward:+.3f}"
            step = f"{min(trial.layers_done + 1, trial.num_layers)}/{trial.num_layers}"
            table.add_row(trial.label, trial.layer, step, f"{trial.pruning_ratio:.1%}", str(trial.updates), reward)
        return Group(Text(head, style="bold"), table) if running else Text(head, style="bold")


def _factorised(row: dict[str, Any]) -> str:
    """A row of ``low_rank`` and its drop in a few words."""
    less = 1 - row["params_after"] / row["params_before"]
    pair = f"{row['layer']} by {row['scheme']} at rank {row['rank']}"
    return f"{pair}, {less:.0%} fewer parameters, drop {row['val_score_drop']:+.1f} points"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
