"""Weights & Biases: every trial is a run, all in the study's group.

Nothing but what is listed in docs/trackers.md leaves the machine: neither its code, nor its console, nor its load.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator

from raprune.plugins.trackers.base import TrackedStudy, TrackedTrial
from raprune.registry import TRACKERS
from raprune.system.extras import NeedsPackage

STEP = "layers_decided"
LONGEST = 128
"""Characters of a name."""
MODES = {"dryrun": "offline", "run": "online", "shared": "online"}
"""Other words of ``WANDB_MODE``."""


class WandbSettings(NeedsPackage):
    package = "wandb"
    extra = "wandb"

    project: str = Field(default="raprune", min_length=1, max_length=LONGEST)
    """The project of the runs."""
    entity: str | None = None
    """User or team that owns the project; by default that of your account."""
    mode: Literal["online", "offline"] | None = None
    """``offline`` writes into the study's folder, for ``wandb sync`` later; by default what ``WANDB_MODE`` says."""

    @field_validator("project")
    @classmethod
    def _takes_these(cls, project: str) -> str:
        if wrong := sorted(set("/\\#?%:") & set(project)):
            raise ValueError(f"must not contain {' '.join(wrong)}, which W&B takes in no project's name")
        return project


@TRACKERS.register("wandb", WandbSettings)
class WeightsAndBiases:
    """Weights & Biases: every trial is a run, in the group of its study."""

    def __init__(self, settings: WandbSettings, *, study: TrackedStudy) -> None:
        self.settings = settings
        self.study = study
        asked = settings.mode or os.environ.get("WANDB_MODE") or "online"
        self._mode = MODES.get(asked, asked)
        self._wandb: Any = None
        self._runs: dict[str, Any] = {}

    def begin(self) -> None:
        import wandb

        if self._mode == "online" and not wandb.api.api_key:  # else it would ask at the terminal, and wait
            raise RuntimeError("not logged in: run `wandb login`, set WANDB_API_KEY, or use mode: offline")
        self._wandb = wandb

    def trial(self, trial: TrackedTrial) -> None:
        quiet = self._wandb.Settings(
            silent=True, console="off", disable_code=True, disable_git=True, save_code=False, x_disable_meta=True,
            x_disable_stats=True, x_disable_machine_info=True,
        )  # fmt: skip
        run = self._wandb.init(
            project=self.settings.project, entity=self.settings.entity, mode=self._mode, dir=str(self.study.out),
            group=self.study.name, job_type="trial", name=(trial.name or trial.trial_id)[:LONGEST],
            notes=self.study.description, id=f"{self.study.key}-{trial.trial_id}", config=dict(trial.params),
            reinit="create_new", settings=quiet, resume="allow" if self._mode == "online" else None,
        )  # fmt: skip
        run.define_metric("*", step_metric=STEP)
        self._runs[trial.trial_id] = run

    def layer(self, trial_id: str, step: int, metrics: Mapping[str, float]) -> None:
        self._runs[trial_id].log({STEP: step, **metrics})

    def ended(self, trial_id: str, status: str, metrics: Mapping[str, float]) -> None:
        run = self._runs.pop(trial_id)
        run.summary.update({"status": status, **{f"result/{name}": value for name, value in metrics.items()}})
        run.finish(exit_code=int(status == "failed"))

    def close(self, status: str) -> None:
        del status
        while self._runs:
            self._runs.popitem()[1].finish(exit_code=1)
        if self._wandb is not None:
            self._wandb.teardown()
