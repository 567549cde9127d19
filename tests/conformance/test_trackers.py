"""Every tracker takes a study from start to end, and again where a run was interrupted; none needs a network."""

from __future__ import annotations

from pathlib import Path

import pytest

from raprune.plugins.trackers.base import TrackedStudy, TrackedTrial, Tracker
from raprune.registry import TRACKERS, Plugin
from raprune.system.extras import NeedsPackage

every = pytest.mark.parametrize("plugin", [pytest.param(plugin, id=plugin.name) for plugin in TRACKERS])
OFFLINE = {"wandb": {"mode": "offline"}}
"""Settings with which a tracker needs no server."""
TRIAL = TrackedTrial("abc", "taylor, drop_bound 2", {"method": "taylor", "drop_bound": "2.0", "path": "/a 'b' \"c\""})


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrackedStudy:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # as fast as files; SQLite is tested in tests/plugins
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    return TrackedStudy("study", "what it is about", tmp_path, str(tmp_path), "key", "name: study\n")


def build(plugin: Plugin, study: TrackedStudy) -> Tracker:
    settings = plugin.settings.model_validate(OFFLINE.get(plugin.name, {}))
    if problems := settings.problems():
        pytest.skip(problems[0][1])
    tracker: Tracker = plugin.make(settings, study=study)
    return tracker


@every
def test_from_start_to_end_and_on(plugin: Plugin, study: TrackedStudy) -> None:
    for run, status in enumerate(("stopped", "completed")):
        tracker = build(plugin, study)
        tracker.begin()
        tracker.trial(TRIAL)
        tracker.layer(TRIAL.trial_id, run + 1, {"pruning_ratio": 0.25 * (run + 1), "macs": 1000.0})
        tracker.ended(TRIAL.trial_id, status, {"val_score": 90.0, "macs": 1000.0} if run else {})
        tracker.close(status)
    assert any(file.stat().st_size for file in study.out.rglob("*") if file.is_file())


@every
def test_closes_what_never_began_and_what_never_ended(plugin: Plugin, study: TrackedStudy) -> None:
    build(plugin, study).close("failed")
    tracker = build(plugin, study)
    tracker.begin()
    tracker.trial(TRIAL)
    assert tracker.close("stopped") is None  # type: ignore[func-returns-value]


@every
def test_its_package_is_named_where_it_is_missing(plugin: Plugin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    settings = plugin.settings.model_validate(OFFLINE.get(plugin.name, {}))
    for key, problem in settings.problems():
        assert key == "name"
        assert f"pip install 'raprune[{plugin.name}]'" in problem
    assert len(settings.problems()) == issubclass(plugin.settings, NeedsPackage)
