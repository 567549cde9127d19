"""MLflow: a run for the study, and in it a nested run for each trial.

Written with ``MlflowClient``, which keeps no state of its own, so several trials can be open at the same time.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pydantic import field_validator

from raprune.plugins.trackers.base import TrackedStudy, TrackedTrial
from raprune.registry import TRACKERS
from raprune.system.extras import NeedsPackage

KEY, TRIAL, PARENT, NAME = "raprune.study_key", "raprune.trial_id", "mlflow.parentRunId", "mlflow.runName"
STATUSES = {"completed": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}
LONGEST, LONGEST_NAME, LONGEST_TAG = 500, 250, 5000
"""Characters of a parameter's value, of a run's name and of a tag that every MLflow server takes."""
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
"""Schemes of addresses that MLflow opens with SQLAlchemy."""
SECRET = re.compile(r"passw|pwd|secret|token", re.IGNORECASE)


class MLflowSettings(NeedsPackage):
    package = "mlflow"
    extra = "mlflow"

    uri: str | None = None
    """Address of the tracking server or database; by default ``MLFLOW_TRACKING_URI``, or without it ``mlflow.db`` in
    the study's folder."""
    experiment: str = "raprune"
    """The experiment in which the study is a run."""

    @field_validator("uri")
    @classmethod
    def _without_password(cls, uri: str | None) -> str | None:
        asked = parse_qsl(urlsplit(uri or "").query, keep_blank_values=True)
        if uri is not None and (urlsplit(uri).password is not None or any(SECRET.search(key) for key, _ in asked)):
            raise ValueError(
                "must not contain a password, which would be copied into the results; set MLFLOW_TRACKING_USERNAME and "
                "MLFLOW_TRACKING_PASSWORD, or the whole address as MLFLOW_TRACKING_URI"
            )
        return uri

    def packages(self) -> tuple[str, ...]:
        uri = address(self)
        is_database = uri is None or urlsplit(uri).scheme.partition("+")[0] in DATABASES
        return (self.package, *(("sqlalchemy", "alembic") if is_database else ()))


def address(settings: MLflowSettings) -> str | None:
    """The server or database; ``None`` for one in the study's folder."""
    return settings.uri or os.environ.get("MLFLOW_TRACKING_URI") or None


@TRACKERS.register("mlflow", MLflowSettings)
class MLflow:
    """MLflow: the study is a run, and every trial a run nested in it."""

    def __init__(self, settings: MLflowSettings, *, study: TrackedStudy) -> None:
        self.settings = settings
        self.study = study
        self._client: Any = None
        self._experiment = ""
        self._parent = ""
        self._runs: dict[str, str] = {}

    def begin(self) -> None:
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")  # read when it is imported
        logging.getLogger("alembic").setLevel(logging.ERROR)
        from mlflow.tracking import MlflowClient

        own = f"sqlite:///{self.study.out / 'mlflow.db'}"
        client = MlflowClient(tracking_uri=address(self.settings) or own)
        name = self.settings.experiment
        found = client.get_experiment_by_name(name)
        self._experiment = client.create_experiment(name) if found is None else found.experiment_id
        self._client = client
        tags = {
            KEY: self.study.key,
            "raprune.folder": self.study.place,
            "mlflow.note.content": self.study.description[:LONGEST_TAG],
        }
        self._parent = self._run(f"tags.`{KEY}` = '{self.study.key}'", self.study.name, tags)
        client.set_tag(self._parent, "raprune.study", self.study.text[:LONGEST_TAG])

    def trial(self, trial: TrackedTrial) -> None:
        wanted = f"tags.`{PARENT}` = '{self._parent}' and tags.`{TRIAL}` = '{trial.trial_id}'"
        run = self._run(wanted, trial.name or trial.trial_id, {PARENT: self._parent, TRIAL: trial.trial_id})
        self._runs[trial.trial_id] = run
        known = self._client.get_run(
            run
        ).data.params  # MLflow takes no other value for them, such as a label now longer
        for key, value in trial.params.items():
            if key not in known:
                self._client.log_param(run, key, value[:LONGEST])

    def _run(self, wanted: str, name: str, tags: dict[str, str]) -> str:
        """The run that matches ``wanted``, running again; a new one where there is none."""
        found = self._client.search_runs([self._experiment], wanted, max_results=1)
        if not found:
            return str(self._client.create_run(self._experiment, tags={NAME: name[:LONGEST_NAME], **tags}).info.run_id)
        self._client.update_run(found[0].info.run_id, status="RUNNING")
        return str(found[0].info.run_id)

    def layer(self, trial_id: str, step: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self._client.log_metric(self._runs[trial_id], name, value, step=step)

    def ended(self, trial_id: str, status: str, metrics: Mapping[str, float]) -> None:
        run = self._runs.pop(trial_id)
        for name, value in metrics.items():
            self._client.log_metric(run, f"result.{name}", value)
        self._client.set_tag(run, "raprune.status", status)
        self._client.set_terminated(run, STATUSES[status])

    def close(self, status: str) -> None:
        if not self._parent:
            return
        for run in (*self._runs.values(), self._parent):
            self._client.set_terminated(run, STATUSES[status if run == self._parent else "stopped"])
