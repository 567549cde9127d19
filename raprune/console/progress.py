"""What a person sees while a study runs: one live view on a terminal, a line for what matters elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from raprune.console.baselines import baseline_scores, trained_keys, weak_lines
from raprune.console.snapshot import Snapshot, TrialView, write_snapshot
from raprune.console.trials import ENDED, TrialProgress, time_left
from raprune.console.view import duration, ended_line, left, rate, view
from raprune.study import StudyPlan

LINE_EVERY_S = 30.0
"""Elsewhere than on a terminal, a committed layer is a line at most so often."""
WRITE_EVERY_S = 1.0
BEAT_S = 20.0
"""While nothing happens (a study may wait for machines) the file is replaced so often: others see that it runs."""


@dataclass
class StudyProgress:
    """A :class:`raprune.launch.Watch` that draws; create it, then use it as a context manager.

    With ``out`` it also writes what it knows into that folder, about once a second, from the first phase on: by then
    the folder is locked.
    """

    console: Console
    trials: dict[str, TrialProgress]
    has_budget: bool = False
    """Whether a trial that stops early does so because the study's budget is spent."""
    out: Path | None = None
    study: str = ""
    begun: Callable[[StudyPlan], dict[str, TrialProgress]] = lambda _: {}
    """What is known at the start of the trials of a plan; asked again when a search adds some."""
    wanted: int | None = None
    """Trials that a search will suggest."""
    trained: set[str] = field(default_factory=set)
    """Keys of the baselines that the study trains itself."""
    started: float = field(default_factory=time.monotonic)
    num_candidates: int = 0
    text: str = ""
    pool: str = ""
    baselines: str = ""
    first_reward_s: float | None = None
    _live: Live | None = None
    _since: float | None = None
    _line_at: float | None = None
    _written: float | None = None
    _writing: threading.Lock = field(default_factory=threading.Lock)
    _over: threading.Event = field(default_factory=threading.Event)
    _beats: threading.Thread | None = None

    def __enter__(self) -> StudyProgress:
        if self.out is not None:
            self._beats = threading.Thread(target=self._beat, daemon=True, name="progress")
            self._beats.start()
        if self.console.is_terminal and not self.console.is_dumb_terminal and not self.console.quiet:
            self._live = Live(self, console=self.console, refresh_per_second=2, transient=True)
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()
        self._over.set()
        if self._beats is not None:
            self._beats.join()
        if self._written is not None:
            self._write(over=True)

    def planned(self, plan: StudyPlan) -> None:
        self.trained |= trained_keys(plan)
        self.trials |= {name: trial for name, trial in self.begun(plan).items() if name not in self.trials}

    def note(self, text: str) -> None:
        self._line(Text(f"{self.clock()}  {text}", style="yellow"))

    def phase(self, text: str) -> None:
        if text and self._live is None:
            self._line(Text(f"{self.clock()}  {text}", style="dim"))
        if not text and self._since is None:
            self._since = time.monotonic()
            self.baselines = baseline_scores(self.out)
            for line in weak_lines(self.out, self.trained):
                self.note(line)
        self.text = text
        self._write()

    def evaluators(self, text: str) -> None:
        self.pool = text
        self._line(Text(f"{self.clock()}  {text}", style="dim"))
        self._write()

    def told(self, trial_id: str, progress: dict[str, Any]) -> None:
        trial = self.trials[trial_id]
        if trial.started is None or trial.status in ENDED:
            self._begin(trial, progress.get("prune_step", 0) - ("committed_s" in progress))
            trial.first_pass = progress.get("joint_step", 0)
        trial.layer = progress.get("layer", trial.layer)
        trial.num_layers = progress.get("num_layers", trial.num_layers)
        trial.layers_done = progress.get("prune_step", trial.layers_done)
        trial.passes_done = progress.get("joint_step", trial.passes_done)
        trial.layer_candidates = progress.get("num_candidates", 0)
        trial.updates = progress.get("num_updates", trial.updates)
        trial.reward = progress.get("reward", trial.reward)
        trial.score_drop = progress.get("val_score_drop", trial.score_drop)
        trial.dominated = progress.get("dominated", False)
        trial.searched_s += progress.get("searched_s", 0.0)
        trial.committed_s += progress.get("committed_s", 0.0)
        self.num_candidates += progress.get("new_candidates", 0)
        if self.first_reward_s is None and "reward" in progress:
            self.first_reward_s = time.monotonic() - self.started
            if self._live is None:
                said = f"first reward {progress['reward']:+.3f} ({trial.label}, {trial.layer})"
                self._line(Text(f"{self.clock()}  {said}"))
        if self._live is None and "low_rank" in progress:
            self._line(Text(f"{self.clock()}  {trial.label}: {_factorised(progress['low_rank'])}"))
        if progress.get("num_diverged"):
            note = f"{self.clock()}  {trial.label}: {trial.layer}: its fine-tune diverged (NaN or infinite weights) "
            self._line(Text(f"{note}and was discarded; lower finetune.learning_rate", style="yellow"))
        if "pruning_ratio" in progress:
            trial.pruning_ratio = progress["pruning_ratio"]
            trial.layer_candidates = 0
            self._committed(trial, progress)
        self._write(WRITE_EVERY_S)

    def ended(self, trial_id: str, status: str, folder: Path) -> None:
        trial = self.trials[trial_id]
        if trial.status == status:
            return
        trial.status, trial.ended = status, time.monotonic()
        seen = f"{self.clock()}  "
        if status == "failed":
            self._line(Text(f"{seen}failed: {trial.label}; see {folder / 'error.txt'}", style="red"))
        elif trial.layers_done:
            line = ended_line(self._trial(trial_id, trial))
            if status == "stopped" and self.has_budget and not trial.dominated:
                line = Text(line.plain.replace("stopped", "the budget is spent", 1), style=line.style)
            self._line(Text(seen, style=line.style).append(line.plain))
        self._write()

    def _begin(self, trial: TrialProgress, step: int) -> None:
        """Note that a trial runs, from its layer ``step`` on; where none did, it has run since the last one ended."""
        now = time.monotonic()
        ends = [other.ended for other in self.trials.values() if other.ended is not None]
        alone = not any(other.status == "running" for other in self.trials.values())
        trial.started = max([self._since or now, *ends]) if alone else now
        trial.status, trial.ended = "running", None
        trial.first_step = step

    def _committed(self, trial: TrialProgress, progress: dict[str, Any]) -> None:
        now = time.monotonic()
        if self._live is not None or (self._line_at is not None and now - self._line_at < LINE_EVERY_S):
            return
        self._line_at = now
        ratio, drop = progress.get("committed_pruning_ratio", 0.0), progress.get("val_score_drop", 0.0)
        reward = "" if trial.reward is None else f", reward {trial.reward:+.3f}"
        self._line(
            Text(
                f"{self.clock()}  {trial.label}: {trial.layer} ({trial.place}) "
                f"{ratio:.0%} pruned{reward}, drop {drop:+.1f} points; "
                + ", ".join(filter(None, (rate(self._rate()), left(self._left()))))
            )
        )

    def _line(self, text: Text) -> None:
        self.console.print(text, highlight=False, soft_wrap=True)

    def clock(self) -> str:
        """Time since the start."""
        return duration(time.monotonic() - self.started)

    def _rate(self) -> float | None:
        """Candidates asked for per second, memo included, since the first trial began."""
        if self._since is None:
            return None
        return self.num_candidates / max(1e-9, time.monotonic() - self._since)

    def _left(self) -> float | None:
        """Seconds left, the report not included."""
        return None if self._since is None else time_left(self.trials.values(), self._since, time.monotonic())

    def snapshot(self, over: bool = False) -> Snapshot:
        """What is known now."""
        now = time.time()
        return Snapshot(
            study=self.study, updated=now, started=now - (time.monotonic() - self.started), phase=self.text,
            baselines=self.baselines, evaluators=self.pool, num_candidates=self.num_candidates, rate=self._rate(),
            left_s=self._left(), over=over, wanted=self.wanted,
            trials=[self._trial(name, trial) for name, trial in self.trials.items()],
        )  # fmt: skip

    def _trial(self, trial_id: str, trial: TrialProgress) -> TrialView:
        return TrialView(
            trial_id=trial_id, label=trial.label, status=trial.status,
            layer=trial.layer, layers_done=trial.layers_done, num_layers=trial.num_layers,
            pruning_ratio=trial.pruning_ratio, score_drop=trial.score_drop, updates=trial.updates, reward=trial.reward,
            dominated=trial.dominated,
        )  # fmt: skip

    def _write(self, every_s: float = 0.0, over: bool = False) -> None:
        """Write the snapshot, unless that was done less than ``every_s`` ago."""
        with self._writing:
            now = time.monotonic()
            if self.out is None or (self._written is not None and now - self._written < every_s):
                return
            self._written = now
            write_snapshot(self.out, self.snapshot(over))

    def _beat(self) -> None:
        """Show that the study lives, once it has begun."""
        while not self._over.wait(BEAT_S):
            if self._written is not None:
                self._write(BEAT_S)

    def __rich__(self) -> RenderableType:
        return view(self.snapshot(), self.console)


def _factorised(row: dict[str, Any]) -> str:
    """A row of ``low_rank`` and its drop in a few words."""
    less = 1 - row["params_after"] / row["params_before"]
    pair = f"{row['layer']} by {row['scheme']} at rank {row['rank']}"
    return f"{pair}, {less:.0%} fewer parameters, drop {row['val_score_drop']:+.1f} points"
