"""Checks that a study's folder holds results of the study's current content, before any of them is used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from raprune.baseline.origins import check_origin, origin_of, sources_of
from raprune.baseline.prepare import initial_network, prepare_baseline
from raprune.engine.inputs import Inputs
from raprune.engine.workload import Baseline
from raprune.identity import Sources
from raprune.registry import SCORES
from raprune.results import TrialStore
from raprune.study.schema import TrialSpec


def check_results(trials: Sequence[TrialSpec], out: Path, inputs: Inputs) -> None:
    """Compare baselines and trials in ``out``, completed ones too, with what they would be built from now.

    Raises :class:`InputError` that names the folder or file and says what to do.
    """
    for group in _by_baseline(trials):
        folder = out / "baselines" / group[0].baseline_key
        stores = {trial.trial_id: TrialStore(out, trial.study, trial.trial_id) for trial in group}
        if Baseline.read(folder) is not None:
            sources = prepare_baseline(group[0], folder, inputs=inputs).sources
        elif any(origin_of(store) is not None for store in stores.values()):
            sources = _sources_now(group[0], inputs)
        else:
            continue
        for trial in group:
            check_origin(stores[trial.trial_id], trial, sources, "", None)
    check_trials(trials, out)


def check_trials(trials: Sequence[TrialSpec], out: Path) -> None:
    """Check that trials that have begun, completed ones too, were pruned from the baselines now in ``out``.

    Raises :class:`InputError` if they were not.
    """
    stores = {trial.trial_id: TrialStore(out, trial.study, trial.trial_id) for trial in trials}
    for group in _by_baseline(trials):
        baseline = Baseline.read(out / "baselines" / group[0].baseline_key)
        if baseline is None:
            continue
        for trial in group:
            matched = stores.get(trial.matched_trial_id or "")
            check_origin(stores[trial.trial_id], trial, None, baseline.weights_fingerprint, matched)


def _by_baseline(trials: Sequence[TrialSpec]) -> list[list[TrialSpec]]:
    groups: dict[str, list[TrialSpec]] = {}
    for trial in trials:
        groups.setdefault(trial.baseline_key, []).append(trial)
    return list(groups.values())


def _sources_now(trial: TrialSpec, inputs: Inputs) -> Sources:
    splits = inputs.data(trial.data)
    score = SCORES.build(trial.score.name, trial.score.settings)
    return sources_of(trial, splits, score, initial_network(trial, splits, inputs))
