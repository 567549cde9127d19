"""Mistakes in a search are told where they stand, before anything runs; and what its trials are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from raprune.errors import StudyError
from raprune.study import load_study
from tests.study.searched import STUDY, study

WRONG = [
    ("drop_bound: {low: 1,", "drop_bound: {low: 0.01,", "search.over.drop_bound: is in percentage points"),
    ("low_to_high,", "low_to_hihg,", "search.over.order: no order is called 'low_to_hihg'"),
    ("drop_bound: {low: 1, high: 40.0}", "drop_bond: [1]", "search.over.drop_bond: is not a key of a trial"),
    ("{low: 1, high: 40.0}", "3.0", "must be a list of values, or a range with low and high; got 3.0"),
    ("low: 1,", "low: 50,", "search.over.drop_bound: must have low below high"),
    ("    order:", "    model.width: [0.1]\n    order:", "a search stays with one baseline; sweep model instead"),
    ("search:\n", "sweep: {seed: [1, 2]}\nsearch:\n", "search: must not stand beside sweep"),
    ("val_score_drop: 20", "test_score_drop: 20", "test_score_drop must not decide"),
    ("val_score_drop: 20", "val_drop: 20", "did you mean 'val_score"),
    ("name: optuna,", "name: optona,", "no sampler is called 'optona'; did you mean 'optuna'?"),
    ("num_random: 4", "num_rnd: 4", "search.sampler.num_rnd: is not a key here"),
    ("trials: 12", "trails: 12", "search.trails: is not a key here; did you mean 'trials'?"),
    ("trials: 12", "maximise: macs\n  minimise: macs", "search.minimise: must not stand beside maximise"),
    ("layers: [features.0]", "layers: each", "layers: must not be each beside a search"),
    (
        "{val_score_drop: 20}",
        "{guard_score_drop: 1}\nguard: 0",
        "guard_score_drop is of guard images, and this",
    ),
    (
        "{low: 1, high: 40.0}",
        "{low: 1, high: 4.0, step: 5.0}",
        "must have a step that leads from low",
    ),
    ("method: magnitude", "method: magnitude\ndrop_bound: 2", "is swept, but drop_bound also has a value"),
    ("search:", "scheduler: {name: asha, eta: 1}\nsearch:", "scheduler.eta: must be at least 2"),
]


@pytest.mark.parametrize(("right", "wrong", "said"), WRONG)
def test_mistakes_are_told_where_they_stand(tmp_path: Path, right: str, wrong: str, said: str) -> None:
    assert STUDY.count(right) == 1
    (tmp_path / "s.yaml").write_text(STUDY.replace(right, wrong))
    with pytest.raises(StudyError) as caught:
        load_study(tmp_path / "s.yaml")
    assert said in str(caught.value)
    line = STUDY[: STUDY.index(right)].count("\n") + 1
    assert any(f"s.yaml:{near}: " in str(caught.value) for near in (line, line + 1, 1))


def test_a_missing_package_is_told_before_anything_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for text in (STUDY, STUDY.replace("  sampler: {name: optuna, num_random: 4}\n", "")):
        with pytest.raises(StudyError, match=r"search.sampler.name: needs the package optuna.*raprune\[optuna\]"):
            study(tmp_path, text=text)


def test_methods_with_different_settings_have_different_names(tmp_path: Path) -> None:
    """In the tables and trackers; a suggestion alone does not know what else there is."""
    methods = "[{name: agent, masks_per_update: 3}, {name: agent, masks_per_update: 5}]"
    text = STUDY.replace("method: magnitude\n", "").replace("  over:\n", f"  over:\n    method: {methods}\n")
    labels = {of["method"] for of in study(tmp_path, text=text).axes.values()}
    assert labels == {"agent masks_per_update 3", "agent masks_per_update 5"}
