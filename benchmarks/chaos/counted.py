"""A score that writes down every candidate which is scored, where ``CHAOS_LOG`` names a file.

``CHAOS_LONGER_S``: seconds by which each candidate takes longer, so that a small study lasts while machines start.

A study names it by import path, so it is loaded wherever candidates are scored. A line is written when a candidate
begins and another when it has been scored; the order of the lines is that of the writes, over all processes.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import Counter
from pathlib import Path

from raprune.engine import ExactEngine
from raprune.engine.base import Engine
from raprune.network.masks import KeepMask
from raprune.network.state import State
from raprune.plugins.scores.base import Scored, Tally
from raprune.plugins.scores.top1_accuracy import Top1Accuracy
from raprune.registry import Settings

LOG, LONGER = "CHAOS_LOG", "CHAOS_LONGER_S"
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
        time.sleep(float(os.environ.get(LONGER, 0)))
        scored = original(self, state, layer, mask, lowest, start)  # type: ignore[arg-type]
        last = first + scored.images_scored
        note(Path(os.environ[LOG]), f"scored {key} {first} {last} {os.uname().nodename} {time.time():.2f}")
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


class Log:
    """What was scored so far, by everybody; reads what is new at each :meth:`look`."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.twice = 0
        """Scorings of images that had been scored."""
        self.after_deletion = 0
        """Scorings of images that had been scored before the memo was deleted, and so are not in ``twice``."""
        self.first: dict[str, float] = {}
        """Host -> when it first scored a candidate (seconds since the epoch)."""
        self._read = 0
        self._seen: dict[str, int] = {}
        """Candidate -> images scored since the memo was deleted last."""
        self._before: dict[str, int] = {}
        self._open: Counter[str] = Counter()

    def look(self) -> Log:
        """Read what is new; returns itself."""
        if self.file.exists():
            with self.file.open("rb") as file:
                file.seek(self._read)
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    self._read += len(line)
                    self._take(*line.decode().split())
        return self

    def _take(self, what: str, *rest: str) -> None:
        if what == DELETED:
            self._before, self._seen = self._before | self._seen, {}
        elif what == "began":
            self._open[rest[0]] += 1
        else:
            key, first, last, host, when = rest
            self._open[key] -= 1
            self.twice += int(first) < self._seen.get(key, 0)
            self.after_deletion += key not in self._seen and int(first) < self._before.get(key, 0)
            self._seen[key] = max(self._seen.get(key, 0), int(last))
            self.first.setdefault(host, float(when))

    @property
    def distinct(self) -> int:
        """Candidates of which at least some images have been scored."""
        return len(self._before | self._seen)

    @property
    def lost(self) -> int:
        """Scorings that began and did not end: their process was killed (or still scores)."""
        return sum(self._open.values())

    @property
    def share(self) -> float:
        """Candidates scored twice, or begun in vain, as a share of all."""
        return (self.twice + self.lost) / max(1, self.distinct)
