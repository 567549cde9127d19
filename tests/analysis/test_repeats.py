"""Repetitions that repeat nothing are one observation, and the page says so."""

from __future__ import annotations

import pytest

from analysis.figures import matched_end, orders
from analysis.frames import completed_trials
from analysis.repeats import repeats_line
from tests.analysis.make_tables import layer_row, make_tables, trial_row, unfinished_row
from tests.analysis.pages import html_of

SAME = [trial_row(f"s{seed}", method="magnitude", seed=seed, wall_time_s=seed) for seed in (0, 1, 2)]


def test_identical_rows_of_other_seeds_count_once() -> None:
    tables = make_tables([*SAME, trial_row("a0"), trial_row("a1", seed=1, pruning_ratio=0.5)])
    assert list(completed_trials(tables)["trial_id"]) == ["s0", "a0", "a1"]
    said = repeats_line(tables)
    assert said.startswith("Seeds 0, 1, 2 give identical rows of magnitude: ")
    assert said in html_of(tables)


@pytest.mark.parametrize(
    "other",
    [{"baseline_key": "b1"}, {"val_score": 97.9}, {"num_candidates": 9}, {"dataset_settings": '{"split_seed": 1}'}],
)
def test_what_differs_in_any_result_is_a_repetition(other: dict[str, object]) -> None:
    tables = make_tables([SAME[0], SAME[1] | other])
    assert len(completed_trials(tables)) == 2
    assert repeats_line(tables) == ""


def test_other_masks_are_another_network_although_their_scores_are_equal() -> None:
    other = layer_row("s1", 0, keep_mask=[False] * 4 + [True] * 6)
    tables = make_tables(SAME[:2], [layer_row("s0", 0), other])
    assert len(completed_trials(tables)) == 2


def test_means_have_no_whiskers_out_of_identical_rows() -> None:
    rows = [row | {"trial_id": f"{row['trial_id']}{order}", "order": order} for row in SAME for order in ("up", "down")]
    frame = orders.select(make_tables(rows))
    assert frame["num_trials"].tolist() == [1, 1]


def test_a_trial_matched_to_a_repetition_keeps_its_partner() -> None:
    own = {"method": "random", "drop_bound": None, "test_score_drop": None}
    followers = [trial_row(f"f{s}", seed=s, matched_trial_id=f"s{s}", val_score_drop=3.0 + s, **own) for s in (0, 1)]
    frame = matched_end.select(make_tables([*SAME[:2], *followers])).set_index(["split", "method"])
    row = frame.loc[("validation", "random")]
    assert (row["score_drop"], row["num_trials"], row["setting"]) == (3.5, 2, "drop bound 2")


def test_failed_trials_are_no_repetitions() -> None:
    tables = make_tables([unfinished_row("x", "failed", "no"), unfinished_row("y", "failed", "no", seed=1)])
    assert repeats_line(tables) == ""
