"""A real study loses parts of its machine: an evaluator, a trial's process for good, the cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from raprune.results import read_study
from tests.launch.runs import assert_same_rows
from tests.launch.test_stop_and_go import finish, layers, start, wait_for_layers
from tests.waiting import PATIENCE_S, until

pytestmark = pytest.mark.slow


def children(process: subprocess.Popen[str], word: str) -> list[psutil.Process]:
    """Processes of the study with ``word`` in their command line."""
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            if word in " ".join(child.cmdline()):
                found.append(child)
        except psutil.Error:
            pass
    return found


@pytest.mark.parametrize("moment", ["it is there", "the baseline is there"])
def test_an_evaluator_killed_at_the_start(reference: Path, tmp_path: Path, moment: str) -> None:
    process = start(tmp_path, "--evaluators", "1")
    until(lambda: children(process, "EvaluatorProcess"), process)
    (evaluator, *_) = children(process, "EvaluatorProcess")
    if moment != "it is there":
        until(lambda: list(tmp_path.glob("out/baselines/*/baseline.json")), process)
    evaluator.kill()
    text, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, text
    assert_same_rows(reference, tmp_path / "out")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize(("what", "named"), [("raylet/raylet", "raylet"), ("gcs/gcs_server", "GCS")])
def test_a_lost_cluster_is_told_in_a_sentence(
    reference: Path, tmp_path: Path, what: str, named: str, how: signal.Signals
) -> None:
    """Killed, or suspended: then it holds all connections and answers nothing."""
    process = start(tmp_path, "--evaluators", "1")
    wait_for_layers(tmp_path, 2, process)
    (lost, *_) = children(process, what)
    lost.send_signal(how)
    text, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1, text
    (line,) = [line for line in text.splitlines() if "the Ray cluster was lost" in line]
    assert f"({named}) on " in line
    assert "the same command resumes from the last committed layers" in line
    assert "Traceback" not in text
    assert len(layers(tmp_path)) >= 2
    finish(tmp_path, "--evaluators", "0")
    assert_same_rows(reference, tmp_path / "out")


def test_a_trial_whose_process_cannot_be_kept_fails_alone(tmp_path: Path) -> None:
    """Its row says why; the others, and those matched to them, complete."""
    process = start(tmp_path, "--evaluators", "1", "--set", "sweep.drop_bound=[8.0]")
    while process.poll() is None and not list(tmp_path.glob("out/trials/*/error.txt")):
        for child in children(process, "ImplicitFunc"):
            child.kill()
        time.sleep(0.05)
    text, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1, text
    trials = read_study(tmp_path / "out").trials
    failed = trials[trials["status"] == "failed"]
    assert len(failed)
    assert set(trials["status"]) <= {"completed", "failed"}
    error = failed["error"].iloc[0]
    assert "process was lost 3 times; the last time" in error or "did not complete" in error
    assert "Traceback" not in text
    assert "interrupted" not in text


def test_a_suspended_evaluator_is_replaced(reference: Path, tmp_path: Path) -> None:
    process = start(tmp_path, "--evaluators", "1")
    wait_for_layers(tmp_path, 1, process)
    (evaluator, *_) = children(process, "EvaluatorProcess")
    os.kill(evaluator.pid, signal.SIGSTOP)
    text, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, text
    assert_same_rows(reference, tmp_path / "out")
