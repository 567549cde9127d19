"""A process that is killed while it trains: the next one goes on, to the same baseline and the same fine-tune."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from raprune.baseline.prepare import prepare_baseline
from raprune.engine import ExactEngine, training_file
from raprune.engine import train as module
from raprune.engine.batches import steps_per_epoch
from raprune.engine.inputs import Inputs
from raprune.engine.training_file import DONE, FOLDER, SO_FAR
from raprune.engine.workload import Baseline, Workload
from raprune.network.state import State
from raprune.study import load_study
from tests.engine.test_training_file import DiedError
from tests.test_shape import ROOT
from tests.tiny import STUDY, write_study

PREPARES = """
import os, signal, sys
from pathlib import Path
from raprune.baseline.prepare import prepare_baseline
from raprune.engine import train, training_file
from raprune.study import load_study

training_file.EVERY_S, training_file.SHARE = 0.0, 1e9
learn, steps = train.Course.learn, []

def learn_or_die(self, inputs, labels):
    learn(self, inputs, labels)
    steps.append(1)
    if len(steps) == 9:
        os.kill(os.getpid(), signal.SIGKILL)

train.Course.learn = learn_or_die
study, folder = map(Path, sys.argv[1:])
prepare_baseline(load_study(study).trials[0], folder)
"""


def test_a_baseline_and_its_fine_tunes_survive_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = STUDY.replace("epochs: 2", "epochs: 1")
    trial = load_study(write_study(tmp_path, text)).trials[0]
    places = [tmp_path / name / "baselines" / trial.baseline_key for name in ("whole", "killed")]
    for place in places:
        place.parents[1].mkdir()
    prepare_baseline(trial, places[0])
    command = [sys.executable, "-c", PREPARES, str(tmp_path / "tiny.yaml"), str(places[1])]
    assert subprocess.run(command, check=False, capture_output=True, cwd=ROOT).returncode == -signal.SIGKILL
    left = list(places[1].parents[1].rglob("*"))
    assert [file.name for file in left if file.is_file()] == [SO_FAR]
    steps, learn = [], module.Course.learn

    def counted(self: module.Course, inputs: tuple[Any, ...], labels: Tensor) -> None:
        if len(steps) == dies_at:
            raise DiedError
        learn(self, inputs, labels)
        steps.append(1)

    dies_at = -1
    monkeypatch.setattr(module.Course, "learn", counted)
    prepare_baseline(trial, places[1])
    whole, again = (Baseline.read(place) for place in places)
    assert whole is not None
    assert again is not None
    assert again.weights_fingerprint == whole.weights_fingerprint
    num_train = len(Inputs().data(trial.data).train)
    assert len(steps) == trial.baseline.epochs * steps_per_epoch(num_train, trial.baseline.batch_size) - 8
    engines = [ExactEngine(Workload.of(trial, place), "cpu") for place in places]
    state = State.baseline(str(trial.baseline_key))
    expected = engines[0].finetune(state, "commit", state.version)
    monkeypatch.setattr(training_file, "EVERY_S", 0.0)
    monkeypatch.setattr(training_file, "SHARE", 1e9)
    steps.clear()
    dies_at = 2
    with pytest.raises(DiedError):
        engines[1].finetune(state, "commit", state.version)
    steps.clear()
    dies_at = -1
    assert engines[1].finetune(state, "commit", state.version).version == expected.version
    assert len(steps) == 2
    assert [file.name for file in (tmp_path / "killed" / FOLDER).glob("*/*")] == [DONE]  # nothing of the baseline's
