"""`init`: the file it writes is a sound study, every key of it has a comment, and nothing is overwritten."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from raprune.errors import InputError, StudyError
from raprune.registry import DATASETS, KINDS, MODELS
from raprune.study import load_study
from raprune.study.starting import Start, _own_scores, needed, starting_study, usual_score
from tests.fuzz.running import call

PAIRS = [
    (model, dataset)
    for model in MODELS.names()
    for dataset in DATASETS.names()
    if (usual_score(model, "digits") == "top1_accuracy") == (usual_score("vgg16", dataset) == "top1_accuracy")
]
"""Networks with the data sets that have labels for them."""
FIRST = {model: pair for pair in reversed(PAIRS) for model in pair[:1]}.values()
FEW = {*FIRST, *{dataset: pair for pair in reversed(PAIRS) for dataset in pair[1:]}.values()}
"""The first pair of each network, and of each data set."""
VALUES = {
    "network": "resnet18",
    "torchvision_detection network": "ssdlite320_mobilenet_v3_large",
    "num_classes": "10",
    "train": "nowhere.parquet",
    "root": "nowhere",
}
"""Values for settings without a default."""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """``init`` in an empty folder: exit code and everything it printed."""
    monkeypatch.chdir(tmp_path)

    def found(*arguments: object, typed: str | None = None) -> tuple[int, str]:
        answers = io.StringIO(typed or "")
        answers.isatty = lambda: typed is not None  # type: ignore[method-assign]
        monkeypatch.setattr(sys, "stdin", answers)
        answer = call("init", *arguments)
        return answer.code, answer.text

    return found


def test_every_network_meets_a_data_set() -> None:
    assert {model for model, _ in PAIRS} == set(MODELS.names())
    assert {dataset for _, dataset in PAIRS} == set(DATASETS.names())
    assert {usual_score("segnet", "camvid"), usual_score("fcn32s", "voc_segmentation")} <= set(KINDS["score"].names())
    assert usual_score("my.nets:build", "my.data:load") == "top1_accuracy"
    assert _own_scores.cache_info().misses == 1  # to read all our studies takes a while


@pytest.mark.parametrize(
    ("model", "dataset"), [pair if pair in FEW else pytest.param(*pair, marks=pytest.mark.slow) for pair in PAIRS]
)
def test_what_is_written_is_a_sound_study(tmp_path: Path, model: str, dataset: str) -> None:
    kinds = {"model": model, "dataset": dataset}
    given = [
        f"{kind}.{key}={VALUES.get(f'{name} {key}', VALUES.get(key, 'nowhere'))}"
        for kind, name in kinds.items()
        for key in needed(kind, name)
    ]
    text, problems = starting_study(Start("new", model, dataset), given)
    assert all(problem.path.startswith("dataset.") for problem in problems)  # that data are not on this machine
    file = tmp_path / "new.yaml"
    file.write_text(text)
    if problems:
        with pytest.raises(StudyError) as told:
            load_study(file)
        assert [problem.path for problem in told.value.problems] == [problem.path for problem in problems]
    else:
        (trial,) = load_study(file).trials
        assert (trial.model.name, trial.dataset.name, trial.drop_bound) == (model, dataset, 2.0)


def test_every_key_has_a_comment() -> None:
    lines = starting_study(Start("new", "vgg16", "digits"))[0].splitlines()
    keys = [number for number, line in enumerate(lines) if re.match(r" *[a-z_]+:", line)]
    assert len(keys) > 20
    assert [lines[number] for number in keys if not lines[number - 1].lstrip().startswith("# ")] == []


def test_settings_opened_change_no_number(tmp_path: Path) -> None:
    text, _ = starting_study(Start("new", "vgg16", "digits", method="agent"))
    ids = []
    for content in (text, re.sub(r"(?m)^  # ([a-z_]+: [^\s()]+)$", r"  \1", text)):
        (tmp_path / "new.yaml").write_text(content)
        ids.append(load_study(tmp_path / "new.yaml").trials[0].trial_id)
    assert ids[0] == ids[1]


def test_a_network_of_ones_own_is_not_imported(tmp_path: Path) -> None:
    start = Start("new", "my_package.nets:build", "my_package.data:load", checkpoint="weights.pt")
    text, problems = starting_study(start, ["model.depth=3"])
    assert "  import: my_package.nets:build\n" in text
    assert "  depth: 3\n" in text
    assert "  checkpoint: weights.pt\n" in text
    assert problems == []
    assert "my_package" not in sys.modules


def test_what_no_study_may_have_is_refused() -> None:
    with pytest.raises(InputError, match=r"no model is called 'vg16'; did you mean 'vgg16'\?"):
        starting_study(Start("new", "vg16", "digits"))
    with pytest.raises(InputError, match=r"dataset image_folder needs root .*--set dataset.root="):
        starting_study(Start("new", "vgg16", "image_folder"))
    with pytest.raises(StudyError, match=r"drop_bound: is in percentage points"):
        starting_study(Start("new", "vgg16", "digits", drop_bound=0.02))
    with pytest.raises(StudyError, match=r"model.widht: is not a key here; did you mean 'width'\?"):
        starting_study(Start("new", "vgg16", "digits"), ["model.widht=0.5"])


def test_what_set_got_wrong_is_said_of_set() -> None:
    with pytest.raises(StudyError) as caught:
        starting_study(Start("new", "vgg16", "digits", drop_bound=0.02), ["fine.x=1"])
    first, second = sorted(str(caught.value).splitlines())
    assert first.startswith("--set: fine: is not a key here")
    assert second.startswith("the new study: drop_bound: is in percentage points")


def test_a_file_is_not_overwritten(run, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("mine")
    asked = ("mine.yaml", "--model", "vgg16", "--dataset", "digits")
    code, out = run(*asked)
    assert code == 2
    assert "mine.yaml exists: choose another name, or replace it with --force" in out
    assert file.read_text() == "mine"
    code, out = run(*asked, "--force")
    assert code == 0
    assert load_study(file).spec.name == "mine"
    assert out.endswith("raprune check mine.yaml --estimate\n  raprune study mine.yaml\n")


def test_without_a_terminal_it_says_what_is_missing(run, tmp_path: Path) -> None:
    code, out = run()
    assert code == 2
    assert [line.partition(" (known: ")[0] for line in out.splitlines()] == [
        "--model is missing",
        "--dataset is missing",
    ]
    assert list(tmp_path.iterdir()) == []


def test_on_a_terminal_enter_takes_the_defaults(run, tmp_path: Path) -> None:
    code, _ = run(typed="vgg61\n\n\n\n\n")
    assert code == 0
    (trial,) = load_study(tmp_path / "vgg16_digits.yaml").trials
    assert (trial.drop_bound, trial.baseline.checkpoint) == (2.0, None)
