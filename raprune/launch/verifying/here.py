"""This machine's engines for a verification: the naive one, and one of the study's own kind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from raprune.engine import NaiveEngine
from raprune.engine.devices import has_device
from raprune.engine.inputs import Inputs
from raprune.engine.tasks import Candidate, Task
from raprune.engine.workload import Baseline, Workload
from raprune.errors import InputError
from raprune.evaluators.base import EvaluatedMask, Evaluator, OnEngine
from raprune.evaluators.engines import Engines
from raprune.evaluators.in_process import local_device
from raprune.network.masks import KeepMask
from raprune.network.state import State
from raprune.plugins.datasets import contents
from raprune.plugins.scores.base import Tally
from raprune.study import StudyPlan, TrialSpec
from raprune.study.parts import EvaluatorsSpec

T = TypeVar("T")


class Naively:
    """Scores on the naive engine; at a fidelity, which it has not, candidates are scored by the ``approximate`` one."""

    def __init__(self, naive: NaiveEngine, approximate: Evaluator | None) -> None:
        self.naive = OnEngine(naive, "naive")
        self.approximate = approximate

    def evaluate(
        self,
        state: State,
        layer: str,
        masks: Sequence[KeepMask],
        lowest: float | None,
        starts: Sequence[Tally | None] | None = None,
    ) -> list[EvaluatedMask]:
        return (self.approximate or self.naive).evaluate(state, layer, masks, lowest, starts)

    def run(self, task: Task[T], state: State) -> T:
        by = self.approximate if self.approximate is not None and isinstance(task, Candidate) else self.naive
        return by.run(task, state)


class Here:
    """This machine's engines: one naive engine and one of the study's kind, for one workload at a time."""

    def __init__(self, plan: StudyPlan, out: Path, inputs: Inputs) -> None:
        self.plan, self.out, self.inputs = plan, out, inputs
        wanted = plan.spec.evaluators.device
        self.device = local_device(wanted if wanted == "auto" or has_device(wanted) else "auto")
        self.spec: EvaluatorsSpec = plan.spec.evaluators.model_copy(update={"device": self.device})
        self.finetuned: dict[tuple[str, int, bool], float | None] = {}
        """Scores of fine-tuned baselines, on the naive engine."""
        self.finetuned_own: dict[tuple[str, int, bool], float | None] = {}
        """The same, on the study's own engine."""
        self.own = Engines(inputs, self.spec, self.device)
        self._naive: tuple[str, NaiveEngine] | None = None

    def workload(self, trial: TrialSpec) -> Workload:
        return Workload.of(trial, self.out / "baselines" / trial.baseline_key)

    def naive(self, workload: Workload) -> Naively:
        """Raises :class:`InputError` where the data are not those that the study was scored on."""
        if self._naive is None or self._naive[0] != workload.key:
            self._naive = None
            engine = NaiveEngine(workload, self.device, inputs=self.inputs)
            self._check_data(workload)
            self._naive = workload.key, engine
        return Naively(self._naive[1], None if workload.fidelity.is_full else self.study_engine(workload))

    def study_engine(self, workload: Workload) -> OnEngine:
        return OnEngine(self.own.of(workload), self.spec.engine)

    def baseline(self, trial: TrialSpec) -> Baseline:
        """Raises :class:`InputError` where there is none."""
        folder = self.out / "baselines" / trial.baseline_key
        baseline = Baseline.read(folder)
        if baseline is None:
            raise InputError(f"{folder} contains no baseline (no baseline.json): no score can be checked without it")
        return baseline

    def _check_data(self, workload: Workload) -> None:
        baseline = Baseline.read(Path(workload.folder))
        splits = self.inputs.data(workload.dataset)
        if baseline is None or not baseline.data_fingerprint:
            return
        test = baseline.sources is None or baseline.sources.test == contents.of_test(splits)
        if contents.changed(baseline.data_fingerprint, splits) or not test:
            raise InputError(
                f"data set {workload.dataset.name} returns other images or labels now than those that the study was "
                "scored on, so nothing can be verified: restore them"
            )
