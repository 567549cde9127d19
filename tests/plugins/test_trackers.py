"""What each tracker leaves in a real local store, read back with the tracker's own reader."""

from __future__ import annotations

from pathlib import Path

import pytest

from raprune.plugins.trackers.base import TrackedStudy, TrackedTrial, Tracker
from raprune.registry import TRACKERS


def run(name: str, settings: dict[str, str], out: Path) -> None:
    """Two runs of a study: the first is interrupted after the first layer of the first of its two trials."""
    pytest.importorskip({"tensorboard": "tensorboard", "mlflow": "mlflow", "wandb": "wandb"}[name])
    study = TrackedStudy("tiny", "A tiny study.", out, str(out), "key", "name: tiny\n")
    for number in range(2):
        tracker: Tracker = TRACKERS.build(name, settings, study=study)
        tracker.begin()
        for trial_id in ("one", "two")[: number + 1]:
            tracker.trial(TrackedTrial(trial_id, f"trial {trial_id}", {"method": "taylor"}))
            tracker.layer(trial_id, number + 1, {"pruning_ratio": 0.5 + number / 4})
        if number:
            tracker.ended("one", "completed", {"macs": 1000.0})
            tracker.ended("two", "failed", {})
        tracker.close("failed" if number else "stopped")


def test_tensorboard(tmp_path: Path) -> None:
    run("tensorboard", {}, tmp_path)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "tensorboard" / "one"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("after_layer/pruning_ratio")] == [(1, 0.5), (2, 0.75)]
    assert events.Scalars("result/macs")[0].value == 1000
    assert "_hparams_/experiment" in events.PluginTagToContent("hparams")


def assert_in_mlflow(uri: str) -> None:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("raprune")
    assert experiment is not None
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"tiny", "trial one", "trial two"}  # the second run went on with those of the first
    study, one, two = runs["tiny"], runs["trial one"], runs["trial two"]
    assert one.data.tags["mlflow.parentRunId"] == two.data.tags["mlflow.parentRunId"] == study.info.run_id
    assert [run.info.status for run in (study, one, two)] == ["FAILED", "FINISHED", "FAILED"]
    assert one.data.params == {"method": "taylor"}
    assert one.data.metrics["result.macs"] == 1000
    history = client.get_metric_history(one.info.run_id, "pruning_ratio")
    assert [(metric.step, metric.value) for metric in history] == [(1, 0.5), (2, 0.75)]


def test_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = (tmp_path / "mlruns").as_uri()
    run("mlflow", {"uri": uri}, tmp_path)
    assert_in_mlflow(uri)


@pytest.mark.slow
def test_mlflow_without_a_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """By default it writes a database into the study's folder, and says nothing."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    run("mlflow", {}, tmp_path)
    assert_in_mlflow(f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert capfd.readouterr() == ("", "")


def test_mlflow_takes_what_is_too_long_or_named_otherwise_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep that was extended calls a trial otherwise; a server refuses another value, and a description as long."""
    pytest.importorskip("mlflow")
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = (tmp_path / "mlruns").as_uri()
    study = TrackedStudy("tiny", "long " * 4000, tmp_path, str(tmp_path), "key", "name: tiny\n" * 4000)
    for label in ("agent", "agent masks_per_update 5"):
        tracker: Tracker = TRACKERS.build("mlflow", {"uri": uri}, study=study)
        tracker.begin()
        tracker.trial(TrackedTrial("one", "long " * 200, {"method": label, f"of {label}": "x" * 9000}))
        tracker.close("completed")
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("raprune")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], "tags.`raprune.trial_id` = 'one'")
    assert [run.data.params["method"] for run in runs] == ["agent"]
    assert set(runs[0].data.params) == {"method", "of agent", "of agent masks_per_update 5"}
    assert len(runs[0].info.run_name) == 250


@pytest.mark.parametrize("uri", ["https://me:hunter2@host/", "postgresql://host/mlflow?user=me&password=hunter2"])
def test_mlflow_takes_no_password(uri: str) -> None:
    settings = TRACKERS.get("mlflow").settings
    with pytest.raises(ValueError, match="MLFLOW_TRACKING_PASSWORD") as caught:
        settings.model_validate({"uri": uri})
    assert "must not contain a password" in str(caught.value)
    assert settings.model_validate({"uri": "postgresql://me@host/mlflow?sslmode=require"})


def test_what_a_database_of_mlflow_needs_is_told_before_work_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = TRACKERS.get("mlflow").settings
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "sqlalchemy" else name)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for uri, missing in ((None, True), ("sqlite:////x.db", True), ("mysql+pymysql://h/x", True), ("http://h", False)):
        problems = settings.model_validate({"uri": uri}).problems()
        assert bool(problems) == missing, uri
        assert all("sqlalchemy" in text and "raprune[mlflow]" in text for _, text in problems)


def test_tensorboard_keeps_studies_of_one_name_apart(tmp_path: Path) -> None:
    """In a folder for many studies: their trials have the same ids."""
    folders = []
    for out in ("a", "b"):
        study = TrackedStudy("tiny", "", tmp_path / out, out, f"key-of-{out}", "")
        tracker: Tracker = TRACKERS.build("tensorboard", {"folder": str(tmp_path / "events")}, study=study)
        tracker.begin()
        tracker.trial(TrackedTrial("one", "", {}))
        tracker.close("completed")
        folders.append(sorted(tmp_path.glob("events/*/one")))
    assert [len(found) for found in folders] == [1, 2]


def test_wandb_takes_no_project_that_it_would_refuse_later() -> None:
    settings = TRACKERS.get("wandb").settings
    for project in ("a/b", "a:b", "", "x" * 129):
        with pytest.raises(ValueError, match="project"):
            settings.model_validate({"project": project})


@pytest.mark.parametrize(
    ("given", "asked", "mode"),
    [(None, "disabled", "disabled"), (None, "dryrun", "offline"), (None, "", "online"), ("offline", "run", "offline")],
)
def test_wandb_does_what_its_environment_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, given: str | None, asked: str, mode: str
) -> None:
    monkeypatch.setenv("WANDB_MODE", asked)
    study = TrackedStudy("tiny", "", tmp_path, str(tmp_path), "key", "")
    assert TRACKERS.build("wandb", {"mode": given}, study=study)._mode == mode


@pytest.mark.slow
def test_wandb_offline(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A folder per run, whose file holds what was logged and nothing about this machine."""
    run("wandb", {"mode": "offline"}, tmp_path)
    files = sorted(tmp_path.glob("wandb/offline-run-*/run-key-*.wandb"))
    assert [file.stem for file in files] == ["run-key-one", "run-key-one", "run-key-two"]
    text = b"".join(file.read_bytes() for file in files)
    assert b"pruning_ratio" in text
    assert b"taylor" in text
    assert not list(tmp_path.glob("wandb/offline-run-*/files/*.py"))
    assert not list(tmp_path.glob("wandb/offline-run-*/files/wandb-metadata.json"))
    assert capfd.readouterr() == ("", "")


def test_wandb_does_not_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    study = TrackedStudy("tiny", "", tmp_path, str(tmp_path), "key", "")
    with pytest.raises(RuntimeError, match="wandb login"):
        TRACKERS.build("wandb", {"mode": "online"}, study=study).begin()
