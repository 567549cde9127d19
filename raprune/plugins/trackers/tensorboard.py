"""TensorBoard: one folder of events per trial, and its table of hyperparameters.

tensorboardX writes the events; it comes with Ray Tune. The package ``tensorboard``, which shows them, is in the extra.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from raprune.plugins.trackers.base import TrackedStudy, TrackedTrial
from raprune.registry import TRACKERS
from raprune.system.extras import NeedsPackage


class TensorBoardSettings(NeedsPackage):
    package = "tensorboardX"
    extra = "tensorboard"

    folder: str | None = None
    """Folder in which the study gets a folder for its events; by default ``tensorboard`` in the study's folder."""


@TRACKERS.register("tensorboard", TensorBoardSettings)
class TensorBoard:
    """TensorBoard: a curve per trial over its layers, and a table of what each setting gave."""

    def __init__(self, settings: TensorBoardSettings, *, study: TrackedStudy) -> None:
        own = f"{study.name}-{study.key[:8]}"  # a study of the same name in another folder has trials of the same ids
        self.folder = Path(settings.folder).expanduser() / own if settings.folder else study.out / "tensorboard"
        self._writers: dict[str, Any] = {}
        self._trials: dict[str, TrackedTrial] = {}

    def begin(self) -> None:
        import tensorboardX  # noqa: F401  (tells at once where it cannot be imported)

    def trial(self, trial: TrackedTrial) -> None:
        from tensorboardX import SummaryWriter

        self._trials[trial.trial_id] = trial
        suffix = f".{time.time_ns()}"  # a file of its own for each run, within the same second, too
        self._writers[trial.trial_id] = SummaryWriter(
            str(self.folder / trial.trial_id), flush_secs=5, filename_suffix=suffix
        )

    def layer(self, trial_id: str, step: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self._writers[trial_id].add_scalar(f"after_layer/{name}", value, step)

    def ended(self, trial_id: str, status: str, metrics: Mapping[str, float]) -> None:
        from tensorboardX.summary import hparams

        writer = self._writers.pop(trial_id)
        metrics = {f"result/{name}": value for name, value in metrics.items()}
        for name, value in metrics.items():
            writer.add_scalar(name, value, 0)
        for summary in hparams({**self._trials[trial_id].params, "status": status}, dict(metrics)):
            writer.file_writer.add_summary(summary)
        writer.close()

    def close(self, status: str) -> None:
        del status
        while self._writers:
            self._writers.popitem()[1].close()
