"""What a run takes in ends with it: data, a program's own network, and the path of a user's own modules."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from raprune.engine.inputs import MAX_READ, Inputs
from raprune.errors import InputError
from raprune.preflight.checks import load_and_inspect
from raprune.study import Choice, ModelChoice

STUDY = """
name: own
model: {name: vgg16, width: 0.0625}
dataset: {%s, num_val: 200}
layers: [features.0]
method: magnitude
drop_bound: 2.0
"""
OWN = "def load(num_val):\n    from lazy_part import made\n    return made(num_val)\n"
LAZY = """
from raprune.plugins.datasets.digits import DigitsSettings, load


def made(num_val):
    return load(DigitsSettings(num_val=num_val))
"""


def digits(num_val: int = 200) -> Choice:
    return Choice(name="digits", settings={"num_val": num_val})


def test_data_are_decoded_once_and_by_the_next_run_anew() -> None:
    with Inputs() as inputs:
        first = inputs.data(digits())
        assert inputs.data(digits()) is first
        for number in range(MAX_READ):
            inputs.data(digits(210 + number))
        assert inputs.data(digits()) is not first  # the oldest was dropped
    with Inputs() as other:
        assert other.data(digits()) is not first


def test_what_a_program_gave_is_its_own_runs_alone() -> None:
    named = ModelChoice(name="python:Net", settings={"digest": "d"})
    with pytest.raises(InputError, match="by a program and exists only in its memory"):
        Inputs().network(named, 10, (1, 8, 8))


@pytest.mark.parametrize("own", [True, False])
def test_own_modules_are_imported_from_the_working_folder_during_the_run_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: bool
) -> None:
    """Where the study names any, and those too that its functions import when they are called."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_lazy.py").write_text(OWN)
    (tmp_path / "lazy_part.py").write_text(LAZY)
    (tmp_path / "own.yaml").write_text(STUDY % ("import: 'own_lazy:load'" if own else "name: digits"))
    before = list(sys.path)
    try:
        with Inputs() as inputs:
            load_and_inspect(tmp_path / "own.yaml", inputs=inputs)
            assert sys.path == [str(tmp_path)] * own + before
        assert sys.path == before
    finally:
        for name in ("own_lazy", "lazy_part"):
            sys.modules.pop(name, None)
