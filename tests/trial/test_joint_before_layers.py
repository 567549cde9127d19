"""A store may have joint passes and not all layers before them, or low rank and not all passes.

What was committed first is sent last.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from raprune.launch import run_study
from raprune.study import load_study
from tests.launch.runs import Watch, assert_same_rows, run_tiny
from tests.tiny import write_study
from tests.trial.test_joint import AGENT, STUDY, Killed

CHANGES = [f"sweep.method=[{AGENT}]", "postprocess.low_rank={layers: all}", "credit=auto"]


@pytest.mark.parametrize(("commits", "late"), [(1, "layers-1.parquet"), (3, "joint-1.parquet")])
def test_what_followed_something_that_did_not_arrive_is_run_again(commits: int, late: str, tmp_path: Path) -> None:
    _, whole = run_tiny(tmp_path / "whole", 0, *CHANGES, text=STUDY)
    folder = tmp_path / "begun"
    shutil.copytree(whole / "baselines", folder / "baselines")

    def kill(number: int) -> None:
        if number == commits:
            raise Killed

    plan = load_study(write_study(tmp_path, STUDY), CHANGES)
    with pytest.raises(Killed):
        run_study(plan, folder, Watch(kill), num_evaluators=0)
    (trial,), (ended,) = (list((out / "trials").iterdir()) for out in (folder, whole))
    assert (ended / late).is_file()
    for file in [*ended.rglob("*")]:
        here = trial / file.relative_to(ended)
        if file.is_file() and file.name not in (late, "trial.parquet") and not here.exists():
            here.parent.mkdir(exist_ok=True)
            shutil.copyfile(file, here)
    assert {"joint-0.parquet", "low_rank-0.parquet"} <= {file.name for file in trial.iterdir()}
    run_study(plan, folder, Watch(), num_evaluators=0)
    assert_same_rows(whole, folder)
