"""What a person sees at the end of a study."""

from __future__ import annotations

from typing import Any

import pytest

from raprune.console.tables import results_table
from tests.analysis.make_tables import make_tables, trial_row


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
