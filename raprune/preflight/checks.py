"""Finds what is wrong with a study before it starts: data, network, layers, bounds, checkpoint."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from raprune.baseline.sane import check_sane, spread
from raprune.engine.agreement import check_agreement, example
from raprune.engine.inputs import Inputs, using
from raprune.engine.split import channels_last
from raprune.engine.workload import trace_model
from raprune.errors import InputError, MissingDataError, Problem, StudyError, first_line
from raprune.network.draws import same_draws
from raprune.network.graph import Graph
from raprune.network.lowrank import Ranks, Reasons, full_ranks, reasons_of
from raprune.network.measure import count_macs, count_params
from raprune.network.weights import load_checkpoint
from raprune.plugins.datasets.base import Splits
from raprune.plugins.datasets.normalisation import Statistics
from raprune.plugins.scores.base import Score
from raprune.preflight.equivalence import prove
from raprune.preflight.fitting import score_problem_of
from raprune.preflight.guarding import GuardFacts, guard_problems
from raprune.preflight.limits import limit_problems
from raprune.preflight.norms import norm_problems, without_norm
from raprune.registry import DATASETS, SCORES, is_given
from raprune.study import Document, StudyPlan, TrialSpec, UnsoundStudy, by_line, expand, read_study_file
from raprune.study.parts import DataSpec
from raprune.study.plugins import import_paths
from raprune.system.paths import expanded
from raprune.trial.asked import asked, most_asked
from raprune.trial.low_rank import low_rank_problems

SANITY_IMAGES = 500
"""Validation images on which a checkpoint is scored before a study."""


@dataclass(frozen=True)
class Facts:
    """Facts of one model on one data set."""

    model: str
    dataset: str
    num_train: int
    num_val: int
    num_test: int | None
    graph: Graph
    low_rank: Reasons
    """Why low-rank schemes cannot factorise layers."""
    full_ranks: Ranks
    """The full ranks of the layers that they can factorise."""
    params: int
    macs: int
    checkpoint_score: float | None
    """Percent, on at most ``SANITY_IMAGES`` validation images; ``None`` where the baseline is trained."""
    standard_error: float | None
    """Standard error of a score of 90% (or of the checkpoint's score) on all validation images, points."""
    quantum: float
    """The smallest step of the score on the validation images, points."""
    score_unit: str
    input_shape: tuple[int, int, int]
    """(C, H, W) of the network's input images."""
    statistics: Statistics | None
    """Mean and standard deviation of each channel, of pixels scaled to [0, 1]; ``None`` for floats."""
    guard: GuardFacts | None = None
    streamed_bytes: int | None = None
    """Bytes of all training images, decoded, if they are decoded again for each batch."""
    left_out: tuple[str, ...] = ()
    """Entries of the checkpoint that are not loaded."""
    without_norm: tuple[str, ...] = ()
    """Prunable layers whose filters no norm scales."""


def load_and_inspect(
    file: Path, overrides: Iterable[str] = (), rehearse: bool = False, inputs: Inputs | None = None
) -> tuple[StudyPlan, dict[str, Facts]]:
    """Load a study and find its facts. Raises :class:`StudyError` with everything wrong, in the file and beyond it."""
    return expand_and_inspect(read_study_file(file, overrides, rehearse), inputs)


def expand_and_inspect(document: Document, inputs: Inputs | None = None) -> tuple[StudyPlan, dict[str, Facts]]:
    """As :func:`load_and_inspect`, for a document that is already in memory."""
    with using(inputs) as inputs:
        inputs.import_for(import_paths(document.data))
        inputs.read_as(DataSpec.written(document.data.get("data")))
        inspector = Inspector(inputs)
        try:
            plan = expand(document, inspector.layer_names)
        except UnsoundStudy as error:
            _, more, ways_on = inspector.look(error.plan)
            more += [] if error.plan.trials else _unplanned_checkpoint(document)
            raise StudyError(by_line([*error.problems, *more]), [*error.ways_on, *ways_on]) from None
        return plan, inspector.inspect(plan)


class Inspector:
    """Finds the facts of studies, once for each network on its data."""

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs
        self._known: dict[str, Facts] = {}

    def layer_names(self, trial: TrialSpec) -> list[str]:
        """The prunable layers of a trial's network, low to high."""
        return list(self._facts(trial).graph.groups)

    def inspect(self, plan: StudyPlan) -> dict[str, Facts]:
        """Facts by :func:`facts_key`. Raises :class:`StudyError` with everything that is wrong."""
        facts, problems, ways_on = self.look(plan)
        if problems:
            raise StudyError(by_line(problems), ways_on)
        return facts

    def look(self, plan: StudyPlan) -> tuple[dict[str, Facts], list[Problem], list[str]]:
        """Facts, problems, and the commands that fetch missing data."""
        problems: list[Problem] = []
        ways_on: list[str] = []
        facts: dict[str, Facts] = {}
        seen: set[str] = set()
        for trial in plan.trials:
            if facts_key(trial) not in seen:
                seen.add(facts_key(trial))
                try:
                    facts[facts_key(trial)] = self._facts(trial)
                except _Unusable as error:
                    problems.append(plan.problem(trial, error.key, str(error)))
                    if isinstance(error.__cause__, MissingDataError):
                        settings = DATASETS.get(trial.dataset.name).settings.model_validate(trial.dataset.settings)
                        ways_on += plan.document.commands(settings.remedies())
                    problems += _missing_checkpoint(plan, trial)
                    continue
                problems += self._baseline_problems(plan, trial, facts)
            if facts_key(trial) in facts:
                problems += _trial_problems(plan, trial, facts[facts_key(trial)])
        return facts, problems, ways_on

    def _facts(self, trial: TrialSpec) -> Facts:
        parts = (trial.model, trial.data, trial.score)
        key = " ".join([*(part.model_dump_json() for part in parts), trial.residual])
        if key not in self._known:
            self._known[key] = _facts(trial, self._inputs)
        return self._known[key]

    def _baseline_problems(self, plan: StudyPlan, trial: TrialSpec, facts: dict[str, Facts]) -> list[Problem]:
        """Problems of a checkpoint; adds its score to ``facts``."""
        if trial.baseline.checkpoint is None:
            return []
        if missing := _missing_checkpoint(plan, trial):
            return missing
        file = expanded(trial.baseline.checkpoint)
        splits = _data(trial, self._inputs)
        with same_draws():
            network = self._inputs.network(trial.model, splits.num_classes, splits.input_shape, fresh=True)
        score: Score = SCORES.build(trial.score.name, trial.score.settings)
        try:
            left_out = load_checkpoint(network, file)
            network = trace_model(network, trial.model, splits.input_shape).network
            some = splits.val.take(spread(len(splits.val), SANITY_IMAGES))
            value = check_sane(channels_last(network).eval(), splits, some, score, trial.scoring.batch_size)
        except InputError as error:
            return [plan.problem(trial, "baseline.checkpoint", str(error))]
        known = facts[facts_key(trial)]
        error_points = score.standard_error(value, known.num_val)
        facts[facts_key(trial)] = replace(
            known, checkpoint_score=value, standard_error=error_points, left_out=tuple(left_out)
        )
        return []


def num_layers(trial: TrialSpec, facts: Facts) -> int:
    """Number of layers that a trial decides."""
    return len(trial.layers_among(facts.graph.groups))


def expected_candidates(trial: TrialSpec, facts: Facts) -> int:
    """About the largest number of candidates that a trial requests; a layer's commit counts as one."""
    sizes = [facts.graph.group(layer).num_filters for layer in trial.layers_among(facts.graph.groups)]
    return sum(1 + most_asked(asked(trial, num_filters, facts.num_val)) for num_filters in sizes)


def facts_key(trial: TrialSpec) -> str:
    """Trials of one key have the same facts."""
    return f"{trial.baseline_key} {trial.residual}"


class _Unusable(InputError):
    """A data set or a model that cannot be used; ``key`` is the study's key that names it."""

    def __init__(self, key: str, error: Exception) -> None:
        ours = isinstance(error, InputError)
        first = first_line(error)
        super().__init__(str(error) if ours else f"cannot be used: {type(error).__name__}: {first}")
        self.key = key


def _data(trial: TrialSpec, inputs: Inputs) -> Splits:
    try:
        return inputs.data(trial.data)
    except Exception as error:  # a reader may raise anything for a malformed file
        raise _Unusable("dataset", error) from error


def _facts(trial: TrialSpec, inputs: Inputs) -> Facts:
    splits, choice = _data(trial, inputs), trial.model
    chosen: Score = SCORES.build(trial.score.name, trial.score.settings)
    try:
        with same_draws():
            network = inputs.network(choice, splits.num_classes, splits.input_shape, fresh=True)
        traced = trace_model(network, choice, splits.input_shape, trial.residual)
        if ":" in choice.name:
            prove(traced, splits.input_shape)
            check_agreement(traced, example(splits, traced.network))
    except Exception as error:  # a network's forward may raise anything on images of the wrong size
        raise _Unusable("model", error) from error
    if score_problem := score_problem_of(network, traced, splits, trial.score, chosen):
        raise _Unusable(*score_problem)
    if not traced.graph.groups:
        raise _Unusable("model", InputError(f"model {choice.name}: {traced.graph.nothing()}"))
    return Facts(
        model=choice.name,
        dataset=trial.dataset.name,
        num_train=len(splits.train),
        num_val=len(splits.val),
        num_test=len(splits.test) if splits.test is not None else None,
        graph=traced.graph,
        low_rank=reasons_of(traced.network),
        full_ranks=full_ranks(traced.network),
        params=count_params(traced.network),
        macs=count_macs(traced.network, splits.input_shape),
        checkpoint_score=None,
        standard_error=chosen.standard_error(90.0, len(splits.val)),
        quantum=chosen.quantum(chosen.whole(splits.val.labels_B)),
        score_unit=chosen.unit,
        input_shape=splits.input_shape,
        statistics=None if splits.normalised else (splits.mean, splits.std),
        guard=GuardFacts.of(splits.guard, chosen),
        streamed_bytes=splits.train.stream.num_bytes if splits.train.stream is not None else None,
        without_norm=without_norm(traced),
    )


def _trial_problems(plan: StudyPlan, trial: TrialSpec, facts: Facts) -> list[Problem]:
    problems = []
    if isinstance(trial.layers, list):
        for index, layer in enumerate(trial.layers):
            try:
                facts.graph.group(layer)
            except InputError as error:
                problems.append(plan.problem(trial, f"layers[{index}]", str(error)))
    if trial.drop_bound is not None and trial.drop_bound < facts.quantum:
        message = f"is worth less than one of {facts.num_val} validation images, {facts.quantum:.2g} points"
        problems.append(plan.problem(trial, "drop_bound", f"{message}; got {trial.drop_bound:g}"))
    else:
        problems += [plan.problem(trial, key, message) for key, message in guard_problems(trial, facts.guard)]
    if (step := trial.postprocess.low_rank) is not None:
        for path, message in low_rank_problems(step, facts.low_rank, facts.full_ranks):
            problems.append(plan.problem(trial, f"postprocess.low_rank.{path}", message))
    beyond = [*norm_problems(trial, facts.graph.groups, facts.without_norm), *limit_problems(trial, facts.num_val)]
    problems += [plan.problem(trial, key, message) for key, message in beyond]
    sizes = {"finetune.batch_size": trial.finetune.batch_size}
    if trial.baseline.checkpoint is None and not is_given(trial.model.name):
        sizes["baseline.batch_size"] = trial.baseline.batch_size
    for path, size in sizes.items():
        if size > facts.num_train:
            message = f"must be at most {facts.num_train}, the number of training images; got {size}"
            problems.append(plan.problem(trial, path, message))
    return problems


def _missing_checkpoint(plan: StudyPlan, trial: TrialSpec) -> list[Problem]:
    """That a trial's checkpoint is not there; empty where it is, or where there is none."""
    file = trial.baseline.checkpoint and expanded(trial.baseline.checkpoint)
    return [plan.problem(trial, "baseline.checkpoint", _missing(file))] if file and not file.is_file() else []


def _unplanned_checkpoint(document: Document) -> list[Problem]:
    """As :func:`_missing_checkpoint`, for a study of whose trials none is known."""
    baseline = document.data.get("baseline")
    given = baseline.get("checkpoint") if isinstance(baseline, dict) else None
    if not isinstance(given, str) or expanded(given).is_file():
        return []
    return [document.problem("baseline.checkpoint", _missing(expanded(given)))]


def _missing(file: Path) -> str:
    """The message about a file that does not exist, with the most similar name in its folder."""
    if file.is_dir():
        return f"must be a file; got the folder {str(file)!r}"
    if file.exists():
        return f"must be a regular file; got {str(file)!r}, a pipe or a device"
    if "$" in str(file):
        return f"no such file: {str(file)!r} (is the environment variable set?)"
    others = [f.name for f in file.parent.iterdir() if f.is_file()] if file.parent.is_dir() else []
    close = difflib.get_close_matches(file.name, others, n=1)
    return f"no such file: {str(file)!r}" + (f"; did you mean {close[0]!r}?" if close else "")
