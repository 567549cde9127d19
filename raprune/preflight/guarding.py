"""What the guard images of a study can show, and what they are too few for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from raprune.engine.paired import CHANGED, images_needed, is_share, usual_error
from raprune.plugins.datasets.base import Split
from raprune.plugins.scores.base import Score
from raprune.study import TrialSpec
from raprune.study.wording import counted
from raprune.trial.guard import confidence_after

UNSURE = 0.5
"""Standard error of a drop on the guard, as a share of the bound, from which on a guard without a warranty promises
little."""


@dataclass(frozen=True)
class GuardFacts:
    """The guard of one data set under one score."""

    num_images: int
    quantum: float
    """The smallest step of the score on them, points."""
    counts_images: bool
    """Whether the score is the percentage of right images, so that the number of images determines the limits."""

    @classmethod
    def of(cls, guard: Split | None, score: Score) -> GuardFacts | None:
        """The facts of ``guard``, if there is one."""
        if guard is None:
            return None
        whole = score.whole(guard.labels_B)
        return cls(len(guard), score.quantum(whole), is_share(score) and whole.tolist() == [len(guard)])


def guard_problems(trial: TrialSpec, guard: GuardFacts | None) -> Iterator[tuple[str, str]]:
    """What the guard is too small for: pairs of a key of the trial and a message."""
    bound = trial.drop_bound
    if guard is None or bound is None or trial.matched_trial_id is not None:
        return
    images = counted(guard.num_images, "guard image")
    if bound < guard.quantum:
        yield (
            "guard",
            (
                f"sets {images} aside, and a bound of {bound:g} is worth less than one of them, {guard.quantum:.2g} "
                f"points: use more validation images, or guard: 0 for none; got {trial.guard:g}"
            ),
        )
    elif trial.warranty is not None and guard.counts_images:
        least = images_needed(0.0, 0.0, bound, confidence_after(0, trial.warranty))
        if guard.num_images < least:
            yield (
                "warranty",
                (
                    f"cannot be kept: at a bound of {bound:g} nothing can be warranted at {trial.warranty:.4g} with "
                    f"{images}; {_would_do(bound, trial.warranty)}, and {least:,} are the least"
                ),
            )


def guard_line(trial: TrialSpec, guard: GuardFacts | None) -> str | None:
    """What the guard does for the bound of a trial, and how little where it is small; ``None`` without a guard."""
    if guard is None:
        return None
    what = "the bound" if trial.drop_bound is None else f"a bound of {trial.drop_bound:g}"
    line = f"guard: {what} must hold on {counted(guard.num_images, 'more validation image')}, too"
    if trial.drop_bound is None or not guard.counts_images:
        return line
    warranty = "for a warranty of 0.95" if trial.warranty is None else f"with a warranty of {trial.warranty:.4g}:"
    line = f"{line}; {warranty} {_would_do(trial.drop_bound, trial.warranty or 0.95)}"
    error = usual_error(guard.num_images)
    if trial.warranty is not None or error < UNSURE * trial.drop_bound:
        return line
    return (
        f"{line}\n  a drop on {counted(guard.num_images, 'image')} has a standard error of {error:.1f} points if "
        f"{CHANGED:g}% of the answers change: on fresh images it may well be over the bound"
    )


def _would_do(bound: float, warranty: float) -> str:
    """How many guard images a warranty needs."""
    number = images_needed(bound / 2, CHANGED, bound, confidence_after(0, warranty))
    return f"about {number:,} would do (for a drop of {bound / 2:g}, with {CHANGED:g}% of the answers changed)"
