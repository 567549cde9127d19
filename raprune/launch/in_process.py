"""The serial twin: every trial in this process, one after another, with the same rows as on Ray."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from raprune.baseline.prepare import prepare_baseline
from raprune.engine import device_name
from raprune.engine.arithmetic import check_precisions
from raprune.engine.devices import check_device
from raprune.engine.inputs import Inputs
from raprune.evaluators.engines import Engines
from raprune.evaluators.in_process import local_device
from raprune.evaluators.memo import Memo
from raprune.launch.base import Watch
from raprune.launch.execute import Holdings, Place, check_folder, execute
from raprune.study import StudyPlan, TrialSpec
from raprune.trial.budget import Account, Unlimited


class InProcessRunner:
    """Runs trials here, without Ray."""

    def __init__(self, plan: StudyPlan, out: Path, inputs: Inputs, account: Account | None = None) -> None:
        self.budget = account or Unlimited()
        self.device = local_device(plan.spec.evaluators.device)
        check_device(self.device)
        check_precisions(plan.precisions, self.device)
        spec = plan.spec.evaluators.model_copy(update={"device": self.device})
        self.place = Place(str(out), plan.spec.preset, spec, 0, device_name(torch.device(self.device)), None)
        self.engines = Engines(inputs, spec, self.device)
        self.holdings = Holdings(inputs, Memo(self.place.memo_folder), self.engines)

    def prepare(self, trials: Sequence[TrialSpec]) -> None:
        for trial in {t.baseline_key: t for t in trials}.values():
            prepare_baseline(trial, self.place.baseline_folder(trial), self.device, self.holdings.inputs)

    def run(self, trials: Sequence[TrialSpec], plan: StudyPlan, watch: Watch) -> None:
        for trial in trials:
            check_folder(Path(self.place.out))
            status = execute(trial, self.place, self.holdings, partial(watch.told, trial.trial_id), self.budget)
            check_folder(Path(self.place.out))
            watch.ended(trial.trial_id, status, self.place.store(trial).folder)
