"""What is known of the trials of a running study, and how long they will still take."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

ENDED = ("completed", "failed", "stopped")
"""Statuses of trials that are over in this run."""
AROUND = 1.0
"""What a trial does before its first layer and after its last one, in layers."""
PASS = 2.0
"""What a joint pass takes, in layers: each of its candidates runs the whole network. A matched trial's has none: 1."""
TYPICAL = 2.0
"""Layers of a kind of trial that count as much as what is typical of all: the first one may be an unusual one."""
FIRST = 0.1
"""Nothing is said of the time left before such a share of the whole time seems to have passed."""


@dataclass
class TrialProgress:
    """What is known of one trial. Times are seconds on one clock."""

    label: str
    expected: int
    """The most candidates that it asks for."""
    num_layers: int
    matched: bool = False
    """Whether it waits for the searched trials."""
    layers_done: int = 0
    layer: str = ""
    layer_candidates: int = 0
    pruning_ratio: float | None = None
    score_drop: float | None = None
    reward: float | None = None
    updates: int = 0
    dominated: bool = False
    """Whether a scheduler ended it."""
    status: str = "waiting"
    """waiting, running, completed, failed, stopped."""
    started: float | None = None
    """When it began in this run; ``None`` for one that has not, or had ended before it."""
    ended: float | None = None
    first_step: int = 0
    """Layers that earlier runs had committed."""
    searched_s: float = 0.0
    """Of the layers of this run: seconds until their filters were chosen."""
    committed_s: float = 0.0
    """Of the layers of this run: seconds that cutting, fine-tuning and measuring took."""
    passes: int = 0
    """The most joint passes that follow its layers."""
    passes_done: int = 0
    first_pass: int = 0
    """Joint passes that earlier runs had committed."""

    @property
    def asked_a_layer(self) -> float:
        """The most candidates for a layer."""
        return self.expected / max(1, self.num_layers)

    @property
    def place(self) -> str:
        """Which layer was committed last, or which joint pass."""
        if self.passes_done:
            return f"joint pass {self.passes_done} of at most {max(self.passes, self.passes_done)}"
        return f"{self.layers_done}/{self.num_layers}"

    @property
    def kind(self) -> tuple[bool, float]:
        """Trials of one kind are expected to take as long per layer."""
        return self.matched, self.asked_a_layer

    @property
    def pass_size(self) -> float:
        """What a joint pass takes, in layers of this kind of trial."""
        return 1.0 if self.matched else PASS

    @property
    def layers_seen(self) -> float:
        """Layers that this run worked off, with the share of the current one, and with :data:`AROUND` at the end.

        A joint pass counts as :attr:`pass_size` of them.
        """
        seen = self.layers_done - self.first_step + self.pass_size * (self.passes_done - self.first_pass)
        if self.status in ENDED:
            return seen + AROUND
        asked, size = self.asked_a_layer, self.pass_size if self.layers_done == self.num_layers else 1.0
        return seen + (0.5 * size * min(1.0, self.layer_candidates / asked) if asked else 0.0)

    @property
    def layers_left(self) -> float:
        """Layers that are still to be worked off, counted like those seen."""
        if self.status in ENDED:
            return 0.0
        steps = self.num_layers - self.first_step + self.pass_size * (self.passes - self.first_pass)
        return max(0.0, steps + AROUND - self.layers_seen)

    def seconds(self, now: float) -> float:
        """How long it has run."""
        return 0.0 if self.started is None else (now if self.ended is None else self.ended) - self.started


def time_left(trials: Collection[TrialProgress], since: float, now: float) -> float | None:
    """Seconds until the trials will have ended, from those seen since ``since``; ``None`` while little is known.

    Little is known before a layer is committed, and in the first tenth (``FIRST``) of the whole time.

    Each kind of trial has its own seconds per layer; of a kind not seen yet, they follow from the time that
    candidates and commits took in the others. Trials are worked off as many at a time as so far, matched ones after the
    others; each lasts at least as long as it does alone.
    """
    begun = [trial for trial in trials if trial.started is not None]
    busy_s = sum(trial.seconds(now) for trial in begun)
    if not any(trial.layers_done > trial.first_step for trial in begun) or now <= since or busy_s <= 0:
        return None
    at_once = busy_s / (now - since)
    typical = _Typical.of(begun, now)
    paces = {kind: _pace(kind, begun, typical, now) for kind in {trial.kind for trial in trials}}
    left_s = 0.0
    for matched in (False, True):
        each = [trial.layers_left * paces[trial.kind] for trial in trials if trial.matched == matched]
        left_s += max(sum(each) / at_once, max(each, default=0.0))
    return left_s if now - since >= FIRST * (now - since + left_s) else None


def _pace(kind: tuple[bool, float], begun: Sequence[TrialProgress], typical: _Typical, now: float) -> float:
    """Seconds per layer of trials of ``kind``; what is typical counts as :data:`TYPICAL` of its own."""
    own = [trial for trial in begun if trial.kind == kind]
    seen_s, seen = sum(trial.seconds(now) for trial in own), sum(trial.layers_seen for trial in own)
    return (seen_s + TYPICAL * typical.pace(kind[1])) / (seen + TYPICAL)


@dataclass(frozen=True)
class _Typical:
    """What the layers of all trials took."""

    layer_s: float
    """Seconds per layer, whatever it took them."""
    commit_s: float
    """Seconds per commit; 0 before the first one."""
    candidate_s: float
    """Seconds per candidate that may be asked for."""

    @classmethod
    def of(cls, begun: Sequence[TrialProgress], now: float) -> _Typical:
        done = [(trial.layers_done - trial.first_step, trial) for trial in begun]
        layers, asked = sum(number for number, _ in done), sum(number * trial.asked_a_layer for number, trial in done)
        return cls(
            sum(trial.seconds(now) for trial in begun) / sum(trial.layers_seen for trial in begun),
            sum(trial.committed_s for trial in begun) / max(1, layers),
            sum(trial.searched_s for trial in begun) / asked if asked else 0.0,
        )

    def pace(self, asked: float) -> float:
        """Seconds per layer with ``asked`` candidates."""
        return self.commit_s + asked * self.candidate_s or self.layer_s
