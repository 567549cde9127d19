"""What a person sees at the end of a study."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from raprune.console.baselines import trained_keys, weak_lines
from raprune.console.progress import StudyProgress
from raprune.console.tables import results_table
from raprune.results import candidates_in_all, short_count, write_json
from raprune.study import load_study
from raprune.study.bundled import find_study
from tests.analysis.make_tables import make_tables, trial_row, unfinished_row


@pytest.mark.parametrize(("changes", "told"), [
    ({"baseline_finetuned_val_score": 116.0}, True),
    ({"baseline_finetuned_val_score": 101.0}, False),
    ({"baseline_finetuned_val_score": None}, False),
    ({"baseline_finetuned_val_score": 116.0, "drop_bound": 20.0}, False),
    ({"baseline_finetuned_val_score": 102.5, "drop_bound": None, "matched_trial_id": "agent"}, True),
])  # fmt: skip
def test_a_baseline_that_was_not_trained_to_its_end_is_told(changes: dict[str, Any], told: bool) -> None:
    """A matched trial has the bound of the trial that it is matched to: 2 points."""
    table = results_table(make_tables([trial_row("agent"), trial_row("other") | changes]))
    assert ("the baseline was not fully trained" in str(table.caption)) == told


def test_every_ratio_stands_beside_its_candidates_and_images() -> None:
    rows = [trial_row("agent", num_order_candidates=39), trial_row("older", images_scored=None)]
    table = results_table(make_tables([*rows, unfinished_row("bad", "failed", "no")]))
    cells = {str(column.header): list(column.cells) for column in table.columns}
    assert cells["cand."] == ["1.27k", "1.23k", ""]
    assert cells["images"] == ["56.7k", "", ""]


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (187, "187"), (999, "999"), (1000, "1k"), (2276, "2.28k"), (56_700, "56.7k"), (999_499, "999k"),
     (999_500, "1M"), (1_234_567, "1.23M"), (3e12, "3e+03G"), (None, ""), (float("nan"), "")],
)  # fmt: skip
def test_counts_have_three_digits(number: float | None, text: str) -> None:
    assert short_count(number) == text


def test_candidates_of_the_order_are_added() -> None:
    assert candidates_in_all(trial_row("t", num_order_candidates=39)) == 1273
    assert candidates_in_all(trial_row("t", num_order_candidates=None)) == 1234
    assert pd.isna(candidates_in_all(trial_row("t", num_candidates=None)))


def test_the_score_of_the_baseline_stands_below_the_table() -> None:
    one = trial_row("a"), unfinished_row("b", "failed", "no", baseline_key="b1")
    assert results_table(make_tables(one)).caption == "baseline: 99.0% on validation, 98.0% on test images"
    low = {"baseline_val_score": 97.5, "baseline_test_score": None, "baseline_finetuned_val_score": None}
    two = trial_row("a"), trial_row("c", baseline_key="b1", **low)
    said = "2 baselines: 97.5 to 99.0% on validation, 98.0% on test images"
    assert results_table(make_tables(two)).caption == said
    other = trial_row("c", baseline_key="b1", model="small", score_name="psnr", score_unit="dB", **low)
    assert str(results_table(make_tables((trial_row("a"), other))).caption).splitlines() == [
        "baseline of vgg16 on digits (top1_accuracy): 99.0% on validation, 98.0% on test images",
        "baseline of small on digits (psnr): 97.5 dB on validation images",
    ]


@pytest.mark.parametrize(
    ("score", "classes", "told"), [(23.7, 10, True), (49.9, 100, True), (50.0, 10, False), (40.0, 1000, False)]
)
def test_a_baseline_that_is_hardly_trained_is_told(tmp_path: Path, score: float, classes: int, told: bool) -> None:
    for key in ("own", "given"):
        (tmp_path / "baselines" / key).mkdir(parents=True)
        write_json(tmp_path / "baselines" / key / "baseline.json", {"val_score": score, "num_classes": classes})
    said = weak_lines(tmp_path, {"own", "missing"})
    assert bool(said) == told
    if told:
        assert said[0].startswith(f"the baseline answers {score:.0f}% of the validation images right: it is hardly")
        assert weak_lines(tmp_path, {"own", "given"})[0].startswith("2 baselines answer fewer than half")
    assert not weak_lines(tmp_path, ())


def test_a_baseline_that_is_hardly_trained_is_told_before_it_is_pruned(tmp_path: Path) -> None:
    (tmp_path / "baselines" / "own").mkdir(parents=True)
    write_json(tmp_path / "baselines" / "own" / "baseline.json", {"val_score": 23.7, "num_classes": 10})
    out = io.StringIO()
    StudyProgress(Console(file=out, width=300), {}, out=tmp_path, trained={"own"}).phase("")
    assert "the baseline answers 24% of the validation images right" in out.getvalue()


@pytest.mark.parametrize(
    ("overrides", "number"), [([], 1), (["baseline.checkpoint=a.pt"], 0), (["score=mean_class_accuracy"], 0)]
)
def test_only_baselines_that_the_study_trains_itself_may_be_hardly_trained(overrides: list[str], number: int) -> None:
    assert len(trained_keys(load_study(find_study(Path("quickstart")), overrides))) == number
