"""How many masks a trial may ask for, and how many it is expected to ask for, in one layer."""

from __future__ import annotations

from dataclasses import replace

from raprune.plugins.decisions.base import DecisionStage
from raprune.plugins.methods.base import NOTHING_LEARNED, Asked, Method
from raprune.registry import DECISIONS, METHODS
from raprune.study.postprocess import JointSpec
from raprune.study.schema import TrialSpec

USUAL_IN_A_PASS = 50
"""Masks of a joint pass where neither it nor a layer has a limit."""


def limit(trial: TrialSpec, num_val_images: int) -> int | None:
    """Most masks that may be scored to decide a layer; ``None`` without a limit.

    A mask counts with the images it needs in full, however early its scoring stops and whatever the memo knows, so
    that the limit depends on the trial alone.
    """
    images = min(trial.fidelity.val_images or num_val_images, num_val_images)
    by_images = trial.images_per_layer // images if isinstance(trial.images_per_layer, int) else "none"
    limits = [number for number in (trial.candidates_per_layer, by_images) if isinstance(number, int)]
    return min(limits, default=None)


def asked(trial: TrialSpec, num_filters: int, num_val_images: int) -> Asked:
    """What the trial's method and decision stage ask for in a layer; nothing where the trial is matched."""
    if trial.matched_trial_id is not None:
        return NOTHING_LEARNED
    method, decision = build_method(trial), build_decision(trial)
    most = limit(trial, num_val_images)
    learned = method.asked(num_filters, most)
    searched = decision.asked(num_filters) if method.prunes else (0, 0)
    if most is not None:
        left = [max(0, most - learned.masks_per_update * updates) for updates in learned.updates]
        searched = min(searched[0], left[1]), min(searched[1], left[0])
    return replace(learned, searched=searched)


def most_in_a_pass(spec: JointSpec, per_layer: int | None) -> int:
    """Most masks that may be scored in a joint pass, where ``per_layer`` may be to decide a layer."""
    return spec.candidates or per_layer or USUAL_IN_A_PASS


def masks_at_once(trial: TrialSpec) -> int:
    """Masks that a trial asks for at once, at most; 1 where each depends on the score of the one before."""
    if trial.matched_trial_id is not None:
        return 1
    method, decision = build_method(trial), build_decision(trial)
    return max(method.asked(2, None).masks_per_update, decision.at_once)


def build_method(trial: TrialSpec) -> Method:
    method: Method = METHODS.build(trial.method.name, trial.method.settings)
    return method


def build_decision(trial: TrialSpec) -> DecisionStage:
    decision: DecisionStage = DECISIONS.build(trial.decision.name, trial.decision.settings)
    return decision


def most_asked(number: Asked) -> int:
    """The largest number of masks."""
    return number.masks_per_update * number.updates[1] + number.searched[1]
