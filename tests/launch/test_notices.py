"""What goes wrong in an evaluator, and costs time only, is told on the study's console, in process and on Ray."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from raprune.engine.training_file import FOLDER, SO_FAR, TrainingFile
from raprune.evaluators.notices import LOOK_S, MOST, Notices
from raprune.evaluators.ray_pool import EvaluatorProcess
from raprune.study import load_study
from raprune.study.parts import EvaluatorsSpec
from raprune.system.telling import Notice, telling
from tests.evaluators.plain import Plain
from tests.fuzz.small import STUDY
from tests.launch.runs import Watch, run_tiny
from tests.tiny import write_study

TINY = ("layers=[features.40]", "candidates_per_layer=2", "sweep.method=[magnitude]")


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The tiny study's training of its baseline."""
    keys: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingFile, "load", lambda file, take_up: keys.append(file.key))
        run_tiny(tmp_path_factory.mktemp("key"), 0, *TINY, text=STUDY, fresh=True)
    return keys[0]


@pytest.fixture
def damaged(key: str, tmp_path: Path) -> Path:
    file = tmp_path / "out" / FOLDER / key / SO_FAR
    file.parent.mkdir(parents=True)
    file.write_bytes(b"no safetensors")
    return file


@pytest.mark.parametrize("evaluators", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_damaged_training_is_told_and_starts_again(evaluators: int, damaged: Path, tmp_path: Path) -> None:
    outcome, _ = run_tiny(tmp_path, evaluators, *TINY, watch=(watch := Watch()), text=STUDY, fresh=True)
    assert outcome.exit_code == 0
    assert names([text for text in watch.notes if "training" in text], damaged)


def test_an_evaluator_tells_it(damaged: Path, tmp_path: Path) -> None:
    (trial,) = load_study(write_study(tmp_path, STUDY), TINY).trials
    evaluator, cluster = EvaluatorProcess("e", EvaluatorsSpec(), "cpu"), Plain()
    evaluator._notices = Notices(cluster)
    evaluator.prepare([(trial, tmp_path / "out" / "baselines" / trial.baseline_key)])
    assert names(Notices(cluster).new(), damaged)


def names(told: list[str], file: Path) -> bool:
    """Whether one sentence was told, which names the file and says what happens."""
    (said,) = told
    ends = said.endswith("; this training starts again from its beginning")
    return said.startswith(f"{file} ") and ends and "\n" not in said


def test_each_is_read_once_whoever_added_it() -> None:
    cluster = Plain()
    one, other, reader = Notices(cluster), Notices(cluster), Notices(cluster)
    one.add("first")
    other.add("second")
    one.add("third")
    assert reader.new() == ["first", "second", "third"]
    other.add("fourth")
    assert reader.new() == []  # not yet
    cluster.time += LOOK_S
    assert reader.new() == ["fourth"]
    for number in range(MOST):
        one.add(str(number))
    assert len(reader.new(at_once=True)) == MOST - 4


def test_other_warnings_stay_warnings() -> None:
    told: list[str] = []

    def warn() -> None:
        with telling(told.append):
            for _ in range(2):  # the second is no repetition that Python would leave out
                warnings.warn("of ours", Notice, stacklevel=1)
            warnings.warn("of another library", stacklevel=1)

    with pytest.warns(UserWarning, match="of another library") as seen:
        warn()
    assert told == ["of ours", "of ours"]
    assert len(seen) == 1
