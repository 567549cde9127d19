"""What a person sees at the end of a study."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from raprune.console.tables import results_table
from raprune.results import candidates_in_all, short_count
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
