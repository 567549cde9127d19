"""Judges what a replay finds.

Float32 sums depend on the order of additions, and so on the processor, the version of torch and the engine. Hence what
differs is judged in two steps. First the study's own engine replays the trial, too: what it gives as recorded differs
between the engines only. Where the weights after the last commit equal those on disk, or nothing was trained on the
same machine, anything else is refuted. Elsewhere scores may differ by what rounding explains: two of the images that
they are measured on or, where that is more, one standard error of the baseline's score; scores in dB by 0.01.
"""

from __future__ import annotations

import math
import platform
import socket
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import Any

from raprune.engine.tasks import Measure
from raprune.launch.verifying.here import Here
from raprune.network.state import State
from raprune.study import TrialSpec
from raprune.trial.context import TrialContext
from raprune.trial.replay import Checked, Difference, Replay, Step, Unreplayable, is_equal

EQUAL, ENGINES, ROUNDING, REFUTED = "equal", "equal on the study's own engine", "within rounding", "refuted"
ROUNDED = ("score", "drop", "reward")
"""What the names of the columns that follow from scores contain."""
IMAGES, DECIBELS = 2, 0.01
"""What rounding may change: the answers for so many images, or so much of a score in dB."""


@dataclass(frozen=True)
class Finding:
    """Something that is not as it was recorded."""

    trial_id: str
    place: str
    judgement: str
    differences: tuple[Difference, ...]
    images: float | None
    """The largest difference of a score, in images of its split; ``None`` where no score in percent differs."""


@dataclass
class Verified:
    """What a verification found."""

    num_candidates: int
    """Of the study, or of the one trial."""
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(kind, judgement) -> how many."""
    findings: list[Finding] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    """What could not be replayed, and why."""
    baselines: set[str] = field(default_factory=set)
    num_trials: int = 0
    num_same_weights: int = 0
    """Trials whose weights after the last commit equal those on disk bit by bit."""
    num_other_weights: int = 0
    approximate: set[str] = field(default_factory=set)
    """Fidelities whose candidates the naive engine cannot score."""
    device: str = "cpu"
    seconds: float = 0.0

    def number(self, kind: str, *judgements: str) -> int:
        """How many of a kind were checked; with ``judgements``, how many of them were judged so."""
        return sum(n for (k, j), n in self.counts.items() if k == kind and (not judgements or j in judgements))

    @property
    def is_refuted(self) -> bool:
        return any(finding.judgement == REFUTED for finding in self.findings)


@dataclass(frozen=True)
class Judge:
    """Replays one trial and judges what differs."""

    here: Here
    trial: TrialSpec
    context: TrialContext
    sampled: Mapping[Step, Sequence[int]]
    manifest: Mapping[str, Any]

    def judge(self, found: Verified) -> None:
        """Add what was checked to ``found``."""
        if self.context.baseline.key not in found.baselines:
            found.baselines.add(self.context.baseline.key)
            self._add(self._baseline(), None, not self._is_same_machine(), found)
        checked, same_weights = self._replayed(self.context, self.here.finetuned)
        found.num_same_weights += same_weights is True
        found.num_other_weights += same_weights is False
        is_other = same_weights is False or (same_weights is None and not self._is_same_machine())
        own = self._as_studied() if any(one.differences for one in checked) else []
        for number, one in enumerate(checked):
            self._add(one, own[number] if number < len(own) else None, is_other, found)

    def _replayed(
        self, context: TrialContext, shared: dict[tuple[str, int, bool], float | None]
    ) -> tuple[list[Checked], bool | None]:
        """What was checked, and whether the weights after the last commit equal those on disk."""
        replay = Replay(self.trial, context, self.sampled, shared, self.manifest["schema_version"])
        checked: list[Checked] = []
        try:
            for one in replay.run():
                checked.append(one)
        except Unreplayable as reason:
            checked.append(Checked("layer", "its rows", (Difference("keep_mask", "cannot be replayed", str(reason)),)))
        return checked, replay.same_weights

    def _as_studied(self) -> list[Checked]:
        """The same on the study's own engine; nothing where that is the naive one."""
        if self.here.spec.engine == "naive":
            return []
        own = replace(self.context, evaluator=self.here.study_engine(self.context.workload))
        return self._replayed(own, self.here.finetuned_own)[0]

    def _add(self, checked: Checked, own: Checked | None, is_other: bool, found: Verified) -> None:
        """Judge one thing. ``own``: what the study's engine finds; ``is_other``: whether this machine may round
        otherwise than the one that the study ran on."""
        judgement, images = EQUAL, self._images(checked.differences)
        if checked.differences:
            agree = own is not None and not own.differences
            judgement = ENGINES if agree else ROUNDING if is_other and self._is_rounding(checked) else REFUTED
            found.findings.append(Finding(self.trial.trial_id, checked.place, judgement, checked.differences, images))
        found.counts[checked.kind, judgement] += 1

    def _baseline(self) -> Checked:
        """The baseline's own scores."""
        baseline, evaluator = self.context.baseline, self.context.evaluator
        recorded = {"val": baseline.val_score, "test": baseline.test_score}
        state = State.baseline(baseline.key)
        now = {split: evaluator.run(Measure(split), state) for split, score in recorded.items() if score is not None}
        differing = [Difference(f"{split}_score", recorded[split], score) for split, score in now.items()]
        wrong = tuple(d for d in differing if not is_equal(d.recorded, d.now))
        return Checked("baseline", f"the scores of baseline {baseline.key}", wrong)

    def _images(self, differences: Sequence[Difference]) -> float | None:
        worth = [self._worth(found) for found in differences if "score" in found.column]
        return None if not self._is_percent else max((images for images in worth if images is not None), default=None)

    @property
    def _is_percent(self) -> bool:
        return self.context.baseline.score_unit == "percent"

    def _worth(self, difference: Difference) -> float | None:
        """A difference of scores in percent, in images of the split that they are measured on."""
        splits = self.here.inputs.data(self.trial.data)
        on_guard = "guard" in difference.column or "limit" in difference.column
        split = splits.guard if on_guard else splits.test if "test" in difference.column else splits.val
        return None if difference.size is None else difference.size * len(split or splits.val) / 100

    def _is_rounding(self, checked: Checked) -> bool:
        """Whether only scores differ, and what follows from them, by little enough."""
        if not all(any(word in found.column for word in ROUNDED) for found in checked.differences):
            return False
        scores = [found for found in checked.differences if "score" in found.column]
        if not self._is_percent:
            return bool(scores) and all(found.size is not None and found.size <= DECIBELS for found in scores)
        error = (self.context.baseline.standard_error or 0.0) + 1e-6
        few = [images is not None and images <= IMAGES + 1e-6 for images in map(self._worth, scores)]
        return bool(few) and all(ok or (found.size or math.inf) <= error for ok, found in zip(few, scores, strict=True))

    def _is_same_machine(self) -> bool:
        """Whether the study says that it ran on this machine, with this torch."""
        there, packages = self.manifest, self.manifest.get("packages", {})
        here = (socket.gethostname(), platform.platform(), version("torch"))
        return (there.get("host"), there.get("platform"), packages.get("torch")) == here
