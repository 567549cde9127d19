"""Trials stay off nodes that differ from the study's own, also off those that join later."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ray import cloudpickle

from raprune.errors import EvaluatorError, InputError
from raprune.launch.placing import NODE, OtherNodeError, needs, off, other_node, scheduler
from tests.test_shape import ROOT


class Study:
    """What a study knows of its nodes."""

    def __init__(self) -> None:
        self.nodes: set[str] = set()

    def refuse(self, node: str) -> bool:
        is_new = node not in self.nodes
        self.nodes.add(node)
        return is_new

    def trial_labels(self) -> dict[str, str]:
        return {"market": "!spot"} | off(self.nodes)


class Trial:
    """A trial of Tune that failed."""

    def __init__(self, error: Exception | None, folder: Path) -> None:
        self.resources: Any = None
        self.pickled_error_file = None if error is None else str(folder / "error.pkl")
        if self.pickled_error_file is not None:
            Path(self.pickled_error_file).write_bytes(cloudpickle.dumps(error))

    def get_pickled_error(self) -> Exception | None:
        """Tune finds it only after it has copied the file."""
        return None

    def update_resources(self, resources: Any) -> None:
        self.resources = resources


def selected(resources: Any) -> dict[str, str]:
    (selector,) = resources._bound.arguments["bundle_label_selector"]
    return dict(selector)


def wrapped(error: Exception) -> Exception:
    """As Ray passes on what a process raised."""
    from ray.exceptions import RayTaskError

    return RayTaskError("trainable", "traceback", error).as_instanceof_cause()


def test_a_trial_on_a_node_that_differs_starts_elsewhere(tmp_path: Path) -> None:
    study, told = Study(), list[str]()
    placing = scheduler(study, told.append)
    for node, nodes in (("aa", "aa"), ("aa", "aa"), ("bb", "aa,bb")):
        trial = Trial(wrapped(OtherNodeError(f"node {node} cannot be used: torch is 1.0 there", node)), tmp_path)
        placing.on_trial_error(None, trial)
        assert selected(trial.resources) == {"market": "!spot", NODE: f"!in({nodes})"}
    assert told == [f"node {n} cannot be used: torch is 1.0 there: its trials run elsewhere" for n in ("aa", "bb")]


@pytest.mark.parametrize("error", [None, InputError("no data"), EvaluatorError("lost"), OSError("full")])
def test_other_errors_move_no_trial(error: Exception | None, tmp_path: Path) -> None:
    study, trial = Study(), Trial(None if error is None else wrapped(error), tmp_path)
    scheduler(study, pytest.fail).on_trial_error(None, trial)
    assert (trial.resources, study.nodes) == (None, set())


def test_the_error_keeps_its_node_on_its_way() -> None:
    error = pickle.loads(pickle.dumps(OtherNodeError("node w cannot be used", "aa")))
    assert (str(error), error.node) == ("node w cannot be used", "aa")
    assert other_node(wrapped(error)).node == "aa"  # type: ignore[union-attr]
    assert pickle.loads(pickle.dumps(scheduler(Study(), print))) is not None  # Tune writes it to disk
    assert "bundle_label_selector" not in needs({})._bound.arguments


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_on_two_raylets(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests/launch/placing_study.py"), str(tmp_path)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HOME": str(tmp_path)},
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    differs = (tmp_path / "differs").read_text()
    assert found["refused"] == [differs]
    assert set(found["nodes"]) == {"0", "1", "2", "3"}
    assert differs not in found["nodes"].values()
    assert found["told"] == ["node w cannot be used: torch is 1.0 there and 2.14 here: its trials run elsewhere"]
