"""A data set of one's own, as in docs/data.md, and the errors of a wrong one."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from raprune.api import splits_of
from raprune.errors import InputError, StudyError
from raprune.plugins.datasets.base import VOID, Split, Splits, check_splits
from raprune.preflight.checks import load_and_inspect
from tests.test_docs import blocks
from tests.test_shape import ROOT

STUDY = """
name: own
model: {name: vgg16, width: 0.0625}
dataset: {import: "own_digits:load", num_val: 200}
drop_bound: 2.0
"""


@pytest.fixture
def importable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("own_digits", None)
    (tmp_path / "own.yaml").write_text(STUDY)
    return tmp_path


def test_the_example_of_the_page(importable: Path) -> None:
    (code,) = blocks(ROOT / "docs" / "data.md", "python")
    (importable / "own_digits.py").write_text(code)
    import own_digits

    splits = own_digits.load()
    assert [len(splits.train), len(splits.val), len(splits.test)] == [1097, 300, 400]
    assert splits.input_shape == (1, 8, 8)
    assert (splits.mean, splits.num_classes) == ((0.3,), 10)
    small = code.replace("[None]", "[None].repeat(1, 4, 4)")
    (importable / "own_digits.py").write_text(small)
    sys.modules.pop("own_digits")
    _, facts = load_and_inspect(importable / "own.yaml")
    (fact,) = facts.values()
    assert (fact.num_val, fact.input_shape) == (140, (1, 32, 32))  # 60 are the guard


def test_what_gives_no_splits_is_refused_with_the_way_on(importable: Path) -> None:
    (importable / "no_splits.py").write_text("def load(num_val): return {'train': 1}\n")
    (importable / "own.yaml").write_text(STUDY.replace("own_digits", "no_splits"))
    with pytest.raises(StudyError, match=r"must return a Splits object; raprune\.api\.splits_of makes.*got dict"):
        load_and_inspect(importable / "own.yaml")


def splits(**change: Any) -> Splits:
    images = torch.zeros(6, 1, 4, 4, dtype=torch.uint8)
    split = Split(images, torch.arange(6) % 3)
    return replace(Splits(split, split, split, 3, (0.0,), (1.0,)), **change)


def with_label(value: int) -> Split:
    labels = torch.arange(6) % 3
    labels[4] = value
    return Split(torch.zeros(6, 1, 4, 4, dtype=torch.uint8), labels)


def dense(value: int) -> Split:
    labels = torch.full((6, 4, 4), VOID, dtype=torch.uint8)
    labels[2, 1, 3] = value
    return Split(torch.zeros(6, 1, 4, 4, dtype=torch.uint8), labels)


def floats(value: float) -> Split:
    images = torch.zeros(600, 1, 4, 4)
    images[555, 0, 1, 1] = value
    return Split(images, torch.arange(600) % 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"val": with_label(3)}, "its val split: item 4 has the label 3; there are 3 classes, from 0 to 2"),
        ({"test": with_label(-1)}, "its test split: item 4 has the label -1; there are 3 classes"),
        ({"train": dense(3)}, "its train split: item 2 has the label 3; there are 3 classes"),
        (
            {"train": floats(0.0), "val": floats(float("nan")), "mean": (), "std": ()},
            "its val split: item 555: its image has values that are NaN or infinite",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_split_and_item(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        check_splits(splits(**change))
    assert message in str(caught.value)


def test_reading_names_them_too() -> None:
    images = torch.zeros(4, 1, 8, 8, dtype=torch.uint8)
    good = [{"image": image, "label": 1} for image in images]
    with pytest.raises(InputError, match=r"test: item 3: must have one label .*got image, name"):
        splits_of(good, good, [*good[:3], {"image": images[0], "name": "x"}], num_classes=2)
    found = splits_of(good, good, num_classes=2)
    assert (found.test, found.mean, found.std) == (None, (0.0,), (1.0,))
