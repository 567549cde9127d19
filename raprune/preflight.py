"""What can be known to be wrong before any work is paid for: data, network, layers, bounds, checkpoint."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import torch

from raprune.baseline import check_sane
from raprune.data import Splits
from raprune.errors import InputError, Problem, StudyError
from raprune.graph import Graph, trace
from raprune.measure import count_macs, count_params
from raprune.registry import METHODS, SCORES
from raprune.scoring import Score
from raprune.split import channels_last
from raprune.study import Choice, StudyPlan, TrialSpec
from raprune.weights import load_checkpoint
from raprune.workload import build_network, load_data

SANITY_IMAGES = 500
"""Validation images on which a checkpoint is scored before a study."""


@dataclass(frozen=True)
class Facts:
    """What a model on a data set comes to."""

    model: str
    dataset: str
    num_train: int
    num_val: int
    num_test: int | None
    graph: Graph
    params: int
    macs: int
    checkpoint_score: float | None
    """Percent, on at most ``SANITY_IMAGES`` validation images; ``None`` where the baseline is trained."""
    standard_error: float | None
    """Of a score of 90% (or the checkpoint's) on all validation images, points."""


def layer_names(trial: TrialSpec) -> list[str]:
    """The prunable layers of a trial's network, low to high."""
    return list(_facts(*_key(trial)).graph.groups)


def inspect(plan: StudyPlan) -> dict[str, Facts]:
    """Facts by ``baseline_key``. Raises :class:`StudyError` with everything that is wrong."""
    problems: list[Problem] = []
    facts: dict[str, Facts] = {}
    for trial in plan.trials:
        if trial.baseline_key in facts:
            continue
        try:
            facts[trial.baseline_key] = _facts(*_key(trial))
        except InputError as error:
            problems.append(plan.problem("dataset" if "dataset" in str(error) else "model", str(error)))
            continue
        except OSError as error:
            problems.append(plan.problem("dataset", f"cannot be read: {error}"))
            continue
        problems += _baseline_problems(plan, trial, facts)
    for trial in plan.trials:
        if trial.baseline_key in facts:
            problems += _trial_problems(plan, trial, facts[trial.baseline_key])
    if problems:
        raise StudyError(problems)
    return facts


def num_layers(trial: TrialSpec, facts: Facts) -> int:
    """Layers that a trial decides."""
    return len(facts.graph.groups) if trial.layers == "all" else len(trial.layers)


def expected_candidates(trial: TrialSpec, facts: Facts) -> int:
    """About how many candidates a trial asks for, at most; a layer's commit counts as one."""
    layers: Iterable[str] = facts.graph.groups if trial.layers == "all" else trial.layers
    method = METHODS.build(trial.method.name, trial.method.settings)
    number = 0
    for layer in layers:
        num_filters = facts.graph.group(layer).num_filters
        number += 1 + (0 if trial.matched_trial_id else method.expected_candidates(num_filters))
    return number


def _key(trial: TrialSpec) -> tuple[str, str, str]:
    return trial.model.model_dump_json(), trial.dataset.model_dump_json(), trial.score.model_dump_json()


@lru_cache(maxsize=4)
def _data(dataset: str) -> Splits:
    return load_data(Choice.model_validate_json(dataset))


@lru_cache(maxsize=64)
def _facts(model: str, dataset: str, score: str) -> Facts:
    choice, data_choice = Choice.model_validate_json(model), Choice.model_validate_json(dataset)
    splits = _data(dataset)
    with torch.random.fork_rng(devices=[]):
        network = build_network(choice, splits.num_classes, splits.input_shape)
    graph = trace(network, splits.input_shape)
    if not graph.groups:
        raise InputError(f"model {choice.name}: it has no layer that can be pruned")
    chosen: Score = SCORES.build(Choice.model_validate_json(score).name, {})
    return Facts(
        model=choice.name,
        dataset=data_choice.name,
        num_train=len(splits.train),
        num_val=len(splits.val),
        num_test=len(splits.test) if splits.test is not None else None,
        graph=graph,
        params=count_params(network),
        macs=count_macs(network, splits.input_shape),
        checkpoint_score=None,
        standard_error=chosen.standard_error(90.0, len(splits.val)),
    )


def _baseline_problems(plan: StudyPlan, trial: TrialSpec, facts: dict[str, Facts]) -> list[Problem]:
    """What is wrong with a checkpoint; its score goes into ``facts``."""
    if trial.baseline.checkpoint is None:
        return []
    file = Path(os.path.expandvars(trial.baseline.checkpoint))
    if not file.is_file():
        return [plan.problem("baseline.checkpoint", f"no such file: {str(file)!r}")]
    splits = _data(trial.dataset.model_dump_json())
    with torch.random.fork_rng(devices=[]):
        network = build_network(trial.model, splits.num_classes, splits.input_shape)
    score: Score = SCORES.build(trial.score.name, trial.score.settings)
    try:
        load_checkpoint(network, file)
        some = splits.val.take(torch.arange(min(SANITY_IMAGES, len(splits.val))))
        value = check_sane(channels_last(network).eval(), splits, some, score, trial.scoring.batch_size)
    except InputError as error:
        return [plan.problem("baseline.checkpoint", str(error))]
    known = facts[trial.baseline_key]
    error_points = score.standard_error(value, known.num_val)
    facts[trial.baseline_key] = replace(known, checkpoint_score=value, standard_error=error_points)
    return []


def _trial_problems(plan: StudyPlan, trial: TrialSpec, facts: Facts) -> list[Problem]:
    problems = []
    if isinstance(trial.layers, list):
        for layer in trial.layers:
            try:
                facts.graph.group(layer)
            except InputError as error:
                problems.append(plan.problem("layers", str(error)))
    if trial.drop_bound is not None and trial.drop_bound * facts.num_val < 100:
        one = 100 / facts.num_val
        message = (
            f"is worth less than one of {facts.num_val} validation images ({one:.2g} points); got {trial.drop_bound}"
        )
        problems.append(plan.problem("drop_bound", message))
    num_train, batch = facts.num_train, trial.finetune.batch_size
    if min(batch, trial.baseline.batch_size) > num_train:
        problems.append(plan.problem("finetune.batch_size", f"is more than the {num_train} training images"))
    return problems
