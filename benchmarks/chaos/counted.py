"""A score that writes down every candidate which is scored, where ``CHAOS_LOG`` names a file.

A study names it by import path, so it is loaded wherever candidates are scored. A line is written when a candidate
begins and another when it has been scored; the order of the lines is that of the writes, over all processes.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from raprune.engine import ExactEngine
from raprune.engine.base import Engine
from raprune.network.masks import KeepMask
from raprune.network.state import State
from raprune.plugins.scores.base import Scored, Tally
from raprune.plugins.scores.top1_accuracy import Top1Accuracy
from raprune.registry import Settings

LOG = "CHAOS_LOG"
DELETED = "memo-deleted"
"""The line that says that the memo was deleted."""


class Counted(Top1Accuracy):
    """Top-1 accuracy; loading it makes this process count."""

    def __init__(self) -> None:
        super().__init__(Settings())
        _count()


def _count() -> None:
    """Have this process's engine write down what it scores."""
    original = ExactEngine.evaluate
    if LOG not in os.environ or hasattr(original, "counts_for_chaos"):
        return

    def evaluate(
        self: Engine, state: State, layer: str, mask: KeepMask, lowest: float | None, start: Tally | None = None
    ) -> Scored:
        key = hashlib.blake2b(f"{state.version} {layer}".encode() + mask.key, digest_size=12).hexdigest()
        first = 0 if start is None else start.num_images
        note(Path(os.environ[LOG]), f"began {key} {first}")
        scored = original(self, state, layer, mask, lowest, start)  # type: ignore[arg-type]
        note(Path(os.environ[LOG]), f"scored {key} {first} {first + scored.images_scored}")
        return scored

    evaluate.counts_for_chaos = True  # type: ignore[attr-defined]
    ExactEngine.evaluate = evaluate  # type: ignore[method-assign]


def note(file: Path, line: str) -> None:
    """Append one line, whole whoever else writes."""
    handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(handle, f"{line}\n".encode())
    finally:
        os.close(handle)


@dataclass
class Counts:
    """What the log says."""

    distinct: set[str] = field(default_factory=set)
    """Candidates of which at least some images have been scored."""
    twice: int = 0
    """Scorings of images that had been scored."""
    lost: int = 0
    """Scorings that began and did not end: their process was killed."""
    after_deletion: int = 0
    """Of those scored twice: what was scored before the memo was deleted and is not counted in ``twice``."""

    @property
    def share(self) -> float:
        """Candidates scored twice, or begun in vain, as a share of all."""
        return (self.twice + self.lost) / max(1, len(self.distinct))


def read(file: Path) -> Counts:
    """Count what a log holds."""
    counts = Counts()
    seen: dict[str, int] = {}
    before: dict[str, int] = {}
    begun: Counter[str] = Counter()
    ended: Counter[str] = Counter()
    for line in file.read_text().splitlines() if file.exists() else []:
        what, *rest = line.split()
        if what == DELETED:
            before, seen = {**before, **seen}, {}
        elif what == "began":
            begun[rest[0]] += 1
        else:
            key, first, last = rest[0], int(rest[1]), int(rest[2])
            ended[key] += 1
            counts.distinct.add(key)
            counts.twice += first < seen.get(key, 0)
            counts.after_deletion += key not in seen and first < before.get(key, 0)
            seen[key] = max(seen.get(key, 0), last)
    counts.lost = (begun - ended).total()
    return counts


def num_scored(file: Path) -> int:
    """Distinct candidates so far."""
    return len(read(file).distinct)
