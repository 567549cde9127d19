"""What is typed at a shell: names of shipped studies, what Tab offers, the schema command."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from raprune import cli
from raprune.cli import completion
from raprune.errors import InputError
from raprune.registry import KINDS
from raprune.study.bundled import bundled_studies, find_study
from tests.study.texts import validator
from tests.test_shape import ROOT

COMMAND = f"""#!/bin/sh
exec {sys.executable} -c 'import sys; sys.argv[0] = "raprune"; from raprune.cli import main; main()' "$@"
"""
ASK = """
script=$(raprune --show-completion bash)
[ "$script" = "$(_RAPRUNE_COMPLETE=source_bash raprune | sed '/./,$!d')" ] && echo the same
eval "$script"
complete -p raprune
ask() {
    COMP_WORDS=(raprune "$@") COMP_CWORD=$#
    _raprune_completion raprune
    echo "${COMPREPLY[*]}"
}
ask study quick
ask check qu --re
ask list m
ask bench results/x/
ask report ''
ask study studies/
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_bare_name_is_a_study_that_comes_along(here: Path) -> None:
    assert {"quickstart", "vgg16_drop_bounds"} <= set(bundled_studies())
    assert find_study(Path("quickstart")) == ROOT / "studies" / "quickstart.yaml"


def test_a_file_of_that_name_wins(here: Path) -> None:
    (here / "quickstart").write_text("name: mine\n")
    assert find_study(Path("quickstart")) == Path("quickstart")
    with pytest.raises(InputError, match=r"mine\.yaml: no such file"):
        find_study(Path("mine.yaml"))


def test_an_unknown_name_lists_them(here: Path) -> None:
    with pytest.raises(InputError, match=r"called 'quikstart'; did you mean 'quickstart'\? \(known: quickstart, "):
        find_study(Path("quikstart"))
    with pytest.raises(InputError, match=r"studies/quickstart.yaml: no such file; .* raprune study quickstart"):
        find_study(Path("studies/quickstart.yaml"))


def test_what_tab_offers(here: Path) -> None:
    (here / "queue.yaml").touch()
    for trial, file in (("a1", "trial.parquet"), ("b2", "layers-0.parquet")):
        (here / "results" / "x" / "trials" / trial).mkdir(parents=True)
        (here / "results" / "x" / "trials" / trial / file).touch()
    (here / "results" / "x" / "manifest.json").touch()
    (here / "results" / "other").mkdir()
    assert completion.complete_study("qu") == ["quickstart", "queue.yaml"]
    assert completion.complete_study("studies/") == []
    assert completion.complete_kind("") == [*KINDS, "preset", "study"]
    assert completion.complete_results("res") == ["results/x"]
    assert completion.complete_trial("") == ["results/x/trials/a1"]


def test_bash_completes_with_what_is_printed(here: Path) -> None:
    if shutil.which("bash") is None:
        pytest.skip("needs bash")
    (here / "bin").mkdir()
    (here / "bin" / "raprune").write_text(COMMAND)
    (here / "bin" / "raprune").chmod(0o755)
    (here / "results" / "x" / "trials" / "a1").mkdir(parents=True)
    (here / "results" / "x" / "trials" / "a1" / "trial.parquet").touch()
    (here / "results" / "x" / "manifest.json").touch()
    environment = {**os.environ, "PATH": f"{here / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    answers = subprocess.run(
        ["bash", "--norc", "-c", ASK], env=environment, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert answers == [
        "the same",
        "complete -o default -F _raprune_completion raprune",
        "quickstart",
        "--rehearse",
        "model method",
        "results/x/trials/a1",
        "results/x",
        "",
    ]


def raprune(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["raprune", *map(str, arguments)])
    try:
        cli.main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_the_schema_is_printed_or_written(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert raprune(monkeypatch, "schema") == 0
    assert json.loads(capsys.readouterr().out) == validator().schema
    assert raprune(monkeypatch, "schema", "--out", "study.schema.json") == 0
    assert json.loads((here / "study.schema.json").read_text()) == validator().schema
    said = capsys.readouterr().out
    assert f"# yaml-language-server: $schema={here.resolve() / 'study.schema.json'}" in said
    assert sorted(here.iterdir()) == [here / "study.schema.json"]


def test_a_schema_that_cannot_be_written(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert raprune(monkeypatch, "schema", "--out", "nowhere/there/s.json") == 2
    assert "nowhere/there/s.json: no such file or folder" in capsys.readouterr().err
