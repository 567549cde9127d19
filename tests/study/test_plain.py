"""A study in a program's plain data is checked by a study file's rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from raprune.errors import StudyError
from raprune.study import document_of, expand
from raprune.study.reader import dump, parse_document

STUDY: dict[str, Any] = {
    "name": "plain", "model": {"name": "vgg16", "width": 0.125}, "dataset": "digits", "method": "magnitude",
    "drop_bound": 2.0,
}  # fmt: skip


def test_tuples_and_paths_are_what_yaml_has() -> None:
    document = document_of(STUDY | {"layers": ("features.0", "features.40")}, "here")
    document.data["baseline"] = document_of({"at": Path("a") / "b"}, "here").data
    assert document.problems == []
    assert document.data["layers"] == ["features.0", "features.40"]
    assert document.data["baseline"] == {"at": "a/b"}
    del document.data["baseline"]
    assert parse_document(dump(document), "again").data == document.data
    (trial,) = expand(document).trials
    assert trial.layers == ["features.0", "features.40"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"seed": None}, "here: seed: has no value (None); omit the key to get its default"),
        ({"seed": 1j}, "here: seed: must be text, a number, True or False; got complex 1j"),
        ({"drop_bound": float("nan")}, "here: drop_bound: must be a finite number; got nan"),
        ({"seed": 2**63}, "here: seed: must be a 64-bit integer"),
        ({"layers": ["features.0", None]}, "here: layers[1]: has no value (None)"),
        ({"finetune": {3: 1}}, "here: finetune: a key must be text; got 3"),
        ({"seed": "one"}, "here: seed: must be an integer; got 'one'"),
        ({"sead": 1}, "here: sead: is not a key here; did you mean 'seed'?"),
        ({"scoring": {"batch_size": 0}}, "here: scoring.batch_size: must be at least 1; got 0"),
    ],
)
def test_what_a_file_could_not_hold_is_refused(more: dict[str, Any], said: str) -> None:
    with pytest.raises(StudyError) as caught:
        expand(document_of(STUDY | more, "here"))
    assert said in str(caught.value)


def test_endless_nesting_is_refused() -> None:
    inside: dict[str, Any] = {}
    inside["again"] = inside
    with pytest.raises(StudyError, match="is nested more than 20 levels deep"):
        expand(document_of(STUDY | {"finetune": inside}, "here"))
