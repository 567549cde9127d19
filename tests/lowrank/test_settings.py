"""The study's keys of a low-rank step: ids, errors at their place, what ``check`` says."""

from __future__ import annotations

from pathlib import Path

import pytest

from raprune.console.tables import facts_lines
from raprune.errors import StudyError
from raprune.preflight.checks import load_and_inspect
from raprune.registry import METHODS
from raprune.study import load_study
from tests.tiny import write_study


def test_ids_without_a_step_are_what_they_were(tmp_path: Path) -> None:
    file = write_study(tmp_path)
    ids = [trial.trial_id for trial in load_study(file).trials]
    assert [trial.trial_id for trial in load_study(file, ["postprocess={}"]).trials] == ids
    assert not {trial.trial_id for trial in load_study(file, ["postprocess={low_rank: {}}"]).trials} & set(ids)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("schemes=[svd, svd]", "must name each scheme once; 'svd' is given twice"),
        ("schemes=[tucker]", "'tucker'"),
        ("layers=whol", "must be whole, all or a list of layer names; got 'whol'; did you mean 'whole'?"),
        ("layers=[]", "must be a list of at least one layer"),
        ("layers=[classifier.0, classifier.0]", "'classifier.0' is given twice"),
        ("layers=[classifier.3]", "no convolution or linear layer is called 'classifier.3'; did you mean"),
        ("ratio=1.5", "below 1"),
        ("energy=0", "above 0"),
        ("images=0", "at least 1"),
        ("rank=5000", "must be at most 32, the largest full rank of a layer that is tried; got 5000"),
    ],
)
def test_mistakes_are_told_at_their_place(tmp_path: Path, setting: str, message: str) -> None:
    more = [] if setting.startswith("schemes") else ["postprocess.low_rank.schemes=[response_svd]"]
    with pytest.raises(StudyError) as caught:
        load_and_inspect(write_study(tmp_path), [*more, f"postprocess.low_rank.{setting}"])
    (problem,) = caught.value.problems
    assert problem.path.startswith(f"postprocess.low_rank.{setting.partition('=')[0]}")
    assert message in problem.message


def test_two_rules_are_refused_and_a_scheme_that_does_not_fit(tmp_path: Path) -> None:
    for value, message in (
        ("{energy: 0.9, rank: 3}", "must have at most one of energy, rank, ratio; got "),
        ("{layers: [classifier.0], schemes: [separable]}", "classifier.0 cannot be factorised: separable is for"),
    ):
        with pytest.raises(StudyError) as caught:
            load_and_inspect(write_study(tmp_path), [f"postprocess.low_rank={value}"])
        assert message in caught.value.problems[0].message


def test_check_tells_what_will_be_tried(tmp_path: Path) -> None:
    plan, facts = load_and_inspect(write_study(tmp_path), ["postprocess.low_rank={schemes: [separable]}"])
    (line,) = [line for line in facts_lines(plan, facts) if line.startswith("low rank")]
    assert line.splitlines() == [
        "low rank: 4 of 6 convolutions and linear layers are tried unless they lose filters: 4 by separable",
        "  not classifier.0, classifier.2 (separable is for kernels larger than 1 in both directions)",
    ]


def test_keep_all_asks_for_nothing() -> None:
    assert not METHODS.build("keep_all", {}).prunes
