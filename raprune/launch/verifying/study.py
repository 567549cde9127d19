"""Verifies the tables of a finished study: which trials can be replayed, and which candidates are drawn."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import ceil
from pathlib import Path
from typing import Any

import torch

from raprune.engine import device_name
from raprune.engine.inputs import Inputs
from raprune.launch.suggesting import with_suggestions
from raprune.launch.verifying.here import Here
from raprune.launch.verifying.judging import Judge, Verified
from raprune.results import TrialStore
from raprune.study import StudyPlan, TrialSpec
from raprune.study.wording import counted
from raprune.trial.context import TrialContext
from raprune.trial.replay import Step

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Part:
    """What of a study is verified."""

    trial_ids: Sequence[str]
    share: float = 0.01
    """Of the candidates of these trials, from 0 to 1; drawn at random, rounded up."""
    seed: int = 0
    """Of the draw."""


def verify(
    plan: StudyPlan,
    out: Path,
    manifest: Mapping[str, Any],
    part: Part,
    *,
    inputs: Inputs,
    tell: Tell = lambda _: None,
) -> Verified:
    """Score some candidates of some trials again, and all that those trials committed; writes nothing.

    ``plan`` is the study in the folder ``out``, as it was run. Raises :class:`InputError` where files are missing or
    damaged, or the data are other ones.
    """
    start = time.perf_counter()
    planned = {trial.trial_id: trial for trial in with_suggestions(plan, out).trials}
    stores = {name: TrialStore(out, plan.spec.name, name) for name in part.trial_ids}
    here = Here(plan, out, inputs)
    trials, unchecked = _replayable(planned, stores, manifest, inputs)
    files = [
        (name, step, stores[name].num_candidates(step)) for name in trials for step in stores[name].candidate_steps()
    ]
    found = Verified(sum(number for *_, number in files), unchecked=unchecked, num_trials=len(trials))
    found.device = device_name(torch.device(here.device))
    sampled = _sample(files, part)
    for number, name in enumerate(trials):
        trial, baseline, workload = planned[name], here.baseline(planned[name]), here.workload(planned[name])
        tell(f"{number} of {counted(len(trials), 'trial')} checked")
        matched = stores.get(trial.matched_trial_id or "")
        context = TrialContext(
            here.naive(workload), inputs, workload, baseline, stores[name], matched, plan.spec.preset, 0, found.device
        )
        if not trial.fidelity.is_full:
            found.approximate.add(trial.fidelity_name)
        Judge(here, trial, context, sampled.get(name, {}), manifest).judge(found)
    found.seconds = time.perf_counter() - start
    return found


def _replayable(
    planned: Mapping[str, TrialSpec], stores: Mapping[str, TrialStore], manifest: Mapping[str, Any], inputs: Inputs
) -> tuple[list[str], list[str]]:
    """The trials that have committed or decided anything, and why others are not checked."""
    trials, unchecked, waiting = [], [], 0
    for name, store in stores.items():
        if name not in planned:
            by = manifest.get("raprune") or "an earlier version"
            unchecked.append(f"trial {name}: study.yaml makes no such trial here (the study was run by raprune {by})")
        elif inputs.lacks(planned[name].model, planned[name].dataset):
            way_on = "call prune() again with them and the same out, then .verify() of what it returns"
            unchecked.append(f"trial {name}: its network or data were passed to prune() by a program: {way_on}")
        elif not store.num_decided():
            waiting += 1
        else:
            trials.append(name)
    if waiting:
        unchecked.append(f"{waiting} of {len(stores)} trials: no layer of them is decided")
    return trials, unchecked


def _sample(files: Sequence[tuple[str, Step, int]], part: Part) -> dict[str, dict[Step, list[int]]]:
    """Trial -> file of candidates -> the rows drawn from it; the number drawn is rounded up."""
    ends = list(accumulate(number for *_, number in files))
    total = ends[-1] if ends else 0
    drawn = sorted(random.Random(part.seed).sample(range(total), min(total, ceil(part.share * total))))
    sampled: dict[str, dict[Step, list[int]]] = {}
    at = 0
    for place in drawn:
        while place >= ends[at]:
            at += 1
        name, step, number = files[at]
        sampled.setdefault(name, {}).setdefault(step, []).append(place - ends[at] + number)
    return sampled
