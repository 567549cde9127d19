"""Limits on what may be scored to decide a layer that are too small for a candidate, or for what a method learns."""

from __future__ import annotations

from raprune.study import TrialSpec
from raprune.study.wording import counted
from raprune.trial.asked import build_method, limit

MANY_FILTERS = 2**20
"""A layer so wide that a method which learns at all learns in it."""


def limit_problems(trial: TrialSpec, num_val_images: int) -> list[tuple[str, str]]:
    """Key and message where a layer could not have one candidate scored."""
    if trial.matched_trial_id is not None or limit(trial, num_val_images) != 0:
        return []
    images = min(trial.fidelity.val_images or num_val_images, num_val_images)
    message = f"must be at least {images:,}, the validation images of one candidate; got {trial.images_per_layer:,}"
    return [("images_per_layer", message)]


def limit_line(trial: TrialSpec, num_val_images: int) -> str | None:
    """That the limit leaves a learner no update; ``None`` where it does, and where nothing is learned."""
    most = limit(trial, num_val_images)
    if trial.matched_trial_id is not None or most is None:
        return None
    method = build_method(trial)
    if not method.asked(MANY_FILTERS, None).updates[1] or method.asked(MANY_FILTERS, most).updates[1]:
        return None
    masks = method.asked(MANY_FILTERS, most).masks_per_update
    return (
        f"method {trial.method.name}: learns nothing, because {counted(most, 'candidate')} per layer leave no update "
        f"of {counted(masks, 'mask')}: raise candidates_per_layer or images_per_layer, or method.learning_share"
    )
