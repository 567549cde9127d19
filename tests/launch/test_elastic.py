"""A study on a real cluster of several raylets that come and go: the rows of one process, to the last bit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from raprune.launch import run_study
from raprune.results import read_study
from raprune.study import load_study
from tests.launch.runs import Watch, assert_same_rows
from tests.tiny import STUDY, write_study

ROOT = Path(__file__).resolve().parents[2]
SMALL = ["sweep.drop_bound=[8.0]"]
SCORE = """
import time
from pathlib import Path
from raprune.registry import Settings
from raprune.plugins.scores.top1_accuracy import Top1Accuracy

class Held(Top1Accuracy):
    def __init__(self):
        super().__init__(Settings())

    def counts(self, logits_BK, labels_B):
        while Path(__file__).with_name("hold").exists():
            time.sleep(0.05)
        return super().counts(logits_BK, labels_B)
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_rows_do_not_depend_on_machines_that_come_and_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Growing and shrinking in the middle of a trial; nobody waits for a machine that does not come back."""
    (tmp_path / "own_held.py").write_text(SCORE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    file = write_study(tmp_path, STUDY + "score: {import: 'own_held:Held'}\n")
    path = f"{ROOT}:{tmp_path}"
    command = [sys.executable, str(ROOT / "tests/launch/elastic_study.py"), str(tmp_path), *SMALL]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": path, "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=580, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["summary"] == "3 completed"
    assert told["joined_s"] < 30 + 3 * told["first_s"], told  # most of both is a process that imports torch
    assert [text.split(":")[0].split(" on ")[0] for text in told["said"]] == [
        "waiting for 2 evaluators (cpu)", "2 evaluators (cpu)", "1 evaluator (cpu)", "2 evaluators (cpu)",
    ]  # fmt: skip
    assert "was lost" in told["said"][2]
    assert "joined" in told["said"][3]
    assert run_study(load_study(file, SMALL), tmp_path / "alone", Watch(), num_evaluators=0).exit_code == 0
    assert_same_rows(tmp_path / "alone", tmp_path / "out")
    scored = read_study(tmp_path / "out").candidates.query("not from_memo")
    assert scored.groupby("evaluator").size().min() > 0
    assert scored["evaluator"].nunique() >= 2
