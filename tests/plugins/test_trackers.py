"""What each tracker leaves in a real local store, read back with the tracker's own reader."""

from __future__ import annotations

from pathlib import Path

import pytest

from raprune.plugins.trackers.base import TrackedStudy, TrackedTrial, Tracker
from raprune.registry import TRACKERS


def run(name: str, settings: dict[str, str], out: Path) -> None:
    """Two runs of a study: the first is interrupted after the first layer of the first of its two trials."""
    pytest.importorskip({"tensorboard": "tensorboard", "mlflow": "mlflow", "wandb": "wandb"}[name])
    study = TrackedStudy("tiny", "A tiny study.", out, "key", "name: tiny\n")
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


def test_mlflow_takes_no_password() -> None:
    settings = TRACKERS.get("mlflow").settings
    with pytest.raises(ValueError, match="MLFLOW_TRACKING_PASSWORD") as caught:
        settings.model_validate({"uri": "https://me:hunter2@host/"})
    assert "must not contain a password" in str(caught.value)


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
    study = TrackedStudy("tiny", "", tmp_path, "key", "")
    with pytest.raises(RuntimeError, match="wandb login"):
        TRACKERS.build("wandb", {"mode": "online"}, study=study).begin()
