"""The commands ``compare`` and ``verify``: exit codes, refusals, and code that somebody else's study names."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from raprune.results import read_manifest, read_study
from raprune.study.wording import counted
from tests.results.test_comparing import five, study
from tests.short import IMPORT

Run = Callable[..., tuple[int, str]]


def test_compare_prints_the_verdict_first(run: Run, tmp_path: Path) -> None:
    out = study(tmp_path / "s", *five("taylor", (54.0, 56.0)), *five("magnitude", (50.0, 50.0)))
    chosen = ("--a", "method=taylor", "--b", "method=magnitude")
    code, text = run("compare", out, *chosen)
    assert code == 0
    assert text.startswith("At drop bound 2, taylor + prefix prunes 5.0 points more")
    code, text = run("compare", out, *chosen, "--json", "--by", "order")
    assert (code, json.loads(text)["groups"][0]["difference"]) == (0, pytest.approx(5.0))
    code, text = run("compare", out)
    assert (code, "Traceback" in text) == (2, False)
    assert "name two folders" in text
    other = study(tmp_path / "o", *five("taylor", (54.0,), model="resnet18"))
    code, text = run("compare", out, other, "--a", "method=taylor")
    assert code == 1
    assert "not comparable: model vgg16 against resnet18" in text


def test_verify_says_what_it_did_and_what_it_cannot(run: Run, small_study: tuple[Path, Path], tmp_path: Path) -> None:
    done = small_study[1]
    trial_id = read_manifest(done)["trial_ids"][1]
    allowed = ("--allow-import", IMPORT)
    code, text = run("verify", done / "trials" / trial_id, "--share", 0, *allowed)
    assert code == 0
    assert text.startswith("loading the study\n0 of 1 trial checked\n")
    passes = counted((read_study(done).joint["trial_id"] == trial_id).sum(), "joint pass")
    confirmed = f"confirmed: 0 of 0 candidates, 2 committed layers, {passes}, 1 network at the end and 1 baseline"
    assert f"{confirmed} scored" in text
    assert "not checked: that the methods would choose these masks again" in text
    copy = Path(shutil.copytree(done, tmp_path / "copy"))
    (copy / "trials" / trial_id / "layers-1.parquet").write_bytes(b"PAR1")
    code, text = run("verify", copy, *allowed)
    assert (code, "Traceback" in text) == (2, False)
    assert f"{trial_id}/layers-1.parquet is damaged" in text.splitlines()[-1]
    shutil.rmtree(copy / "trials")
    code, text = run("verify", copy, *allowed)
    assert (code, "nothing can be verified\n2 of 2 trials: no layer of them is decided" in text) == (2, True)
    assert run("verify", tmp_path)[0] == 2


def test_verify_runs_no_code_that_nobody_allowed(
    run: Run, small_study: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "harmful.py").write_text(f"open({str(tmp_path / 'harm')!r}, 'w')")
    copy = Path(shutil.copytree(small_study[1], tmp_path / "copy"))
    file = copy / "study.yaml"
    file.write_text(file.read_text().replace(IMPORT, "harmful:net"))
    code, text = run("verify", copy)
    assert code == 2
    assert "names code that would be imported and run" in text
    assert "--allow-import harmful:net" in text
    assert not (tmp_path / "harm").exists()
