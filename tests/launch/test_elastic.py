"""A study on a real cluster of several raylets that come and go: the rows of one process, to the last bit."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from itertools import groupby
from pathlib import Path

import pytest
from rich.console import Console

from raprune.console.snapshot import FILE, Seen, look
from raprune.console.watching import once
from raprune.launch import run_study
from raprune.results import read_study
from raprune.study import load_study
from tests.launch.runs import Watch, assert_same_rows
from tests.tiny import WHOLE, write_study

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


class Watched:
    """What another process sees of the study, from its folder alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seen: list[Seen] = []

    def look(self) -> None:
        if (self.folder / FILE).exists():
            self.seen.append(look(self.folder))

    def check(self, said: list[str]) -> None:
        """It saw each size of the pool, the candidates and the end."""
        assert [text for text, _ in groupby(seen.snapshot.evaluators for seen in self.seen) if text] == said
        counts = [seen.snapshot.num_candidates for seen in self.seen]
        assert counts == sorted(counts)
        assert all(seen.runs for seen in self.seen if not seen.snapshot.has_ended)
        assert not any(seen.note for seen in self.seen)
        *_, last = (seen.snapshot for seen in self.seen if seen.snapshot.rate)
        assert last.rate is not None
        assert last.rate >= last.num_candidates / (last.updated - last.started)  # from the first trial on
        self.look()
        assert self.seen[-1].snapshot.num_candidates == read_study(self.folder).trials["num_candidates"].sum()
        assert self.seen[-1].state() == "ended"
        console = Console(file=io.StringIO(), width=200)
        once(self.folder, console)
        assert "tiny: ended, 3 completed" in console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_rows_do_not_depend_on_machines_that_come_and_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Growing and shrinking in the middle of a trial; nobody waits for a machine that does not come back."""
    installed = tmp_path / "site-packages"  # code that every machine has, as that of a library, is not sent
    installed.mkdir()
    (installed / "own_held.py").write_text(SCORE)
    monkeypatch.syspath_prepend(str(installed))
    file = write_study(tmp_path, WHOLE + "score: {import: 'own_held:Held'}\n")
    path = f"{ROOT}:{installed}"
    command = [sys.executable, str(ROOT / "tests/launch/elastic_study.py"), str(tmp_path), *SMALL]
    process = subprocess.Popen(
        command, cwd=tmp_path, env={"PYTHONPATH": path, "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, stderr=(tmp_path / "log").open("w"), text=True,
    )  # fmt: skip
    watched = Watched(tmp_path / "out")
    try:
        while process.poll() is None:
            watched.look()
            time.sleep(0.1)
    finally:
        process.kill()
    printed = process.communicate()[0]
    assert process.returncode == 0, (tmp_path / "log").read_text()
    told = json.loads(printed.splitlines()[-1])
    watched.check(told["said"])
    assert told["summary"] == "3 completed"
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
