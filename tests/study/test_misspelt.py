"""A misspelt key is told before anything slow is imported, together with what is wrong beside it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from raprune.errors import StudyError
from raprune.study import read_study_file
from raprune.study.bundled import bundled_studies
from raprune.study.misspelt import refuse_misspelt

GOOD = "name: x\nmodel: vgg16\ndataset: digits\n"


def told(tmp_path: Path, text: str, *overrides: str) -> list[str]:
    """What is said of a study: path and the first words of each message."""
    file = tmp_path / "study.yaml"
    file.write_text(GOOD + text)
    try:
        refuse_misspelt(read_study_file(file, overrides))
    except StudyError as error:
        return [f"{problem.path} {problem.message.partition(' (known')[0]}".strip() for problem in error.problems[:-1]]
    return []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("drop_bond: 2\n", ["drop_bond is not a key here; did you mean 'drop_bound'?"]),
        (
            "drop_bound: 2\nfinetune: {after_layer: {epoch: 1}}\n",
            ["finetune.after_layer.epoch is not a key here; did you mean 'epochs'?",
             "finetune.after_layer must have exactly one of epochs and steps; got {}"],
        ),
        ("drop_bound: 2\nevaluators: {cout: 2}\n", ["evaluators.cout is not a key here; did you mean 'count'?"]),
        ("sweep: {drop_bond: [2]}\n", ["sweep.drop_bond is not a key of a trial; did you mean 'drop_bound'?"]),
        (
            "sweep: {finetune.momentun: [0.9], drop_bound: [1.0]}\n",
            ["sweep.finetune.momentun is not a key of a trial; did you mean 'momentum'?"],
        ),
        (
            "drop_bond: 2\nseed: one\n",
            ["drop_bond is not a key here; did you mean 'drop_bound'?", "seed must be an integer; got 'one'"],
        ),
    ],
)  # fmt: skip
def test_a_misspelt_key_is_told(tmp_path: Path, text: str, expected: list[str]) -> None:
    assert told(tmp_path, text) == expected


def test_an_override_may_be_misspelt(tmp_path: Path) -> None:
    assert told(tmp_path, "drop_bound: 2\n", "sede=1") == ["sede is not a key here; did you mean 'seed'?"]


@pytest.mark.parametrize("name", sorted(bundled_studies()))
def test_our_studies_have_no_unknown_key(name: str) -> None:
    for rehearse in (False, "rehearsal:" in bundled_studies()[name].read_text()):
        assert refuse_misspelt(read_study_file(bundled_studies()[name], (), rehearse)) is None


def test_what_only_a_plugin_can_tell_is_left_to_it(tmp_path: Path) -> None:
    assert told(tmp_path, "drop_bound: 2\nmethod: {name: tailor, nun_images: 3}\nseed: one\n") == []


@pytest.mark.parametrize("command", ["check", "study"])
def test_nothing_slow_is_imported_before_a_misspelt_key(tmp_path: Path, command: str) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(GOOD + "drop_bond: 2\n")
    code = (
        "import sys; from raprune.cli import main\n"
        "try: main()\n"
        "except SystemExit as stop: print(stop.code, sorted({'torch', 'ray', 'pandas', 'sklearn'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code, command, str(file)], capture_output=True, text=True, check=True)
    assert found.stdout == "2 []\n"
    assert f"{file}:4: drop_bond: is not a key here; did you mean 'drop_bound'?" in found.stderr
