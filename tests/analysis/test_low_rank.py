"""The figure of the low-rank step: what is left before and after it, and the labels of such trials."""

from __future__ import annotations

import json

import pytest

from analysis.figures.low_rank import select
from analysis.labels import describe
from tests.analysis.make_tables import factorised_row, make_tables, trial_row


def test_shares_of_the_baseline_that_are_left() -> None:
    rows = [factorised_row("a", seed=0), factorised_row("b", seed=1, params=200), trial_row("c", method="magnitude")]
    frame = select(make_tables(rows)).set_index(["part", "stage"])
    assert len(frame) == 4
    assert frame["trial"].nunique() == 1
    assert frame.loc[("parameters", "as pruned"), "share_left"] == 0.25
    after = frame.loc[("parameters", "and factorised")]
    assert (after["share_left"], after["lowest"], after["highest"]) == pytest.approx((0.15, 0.1, 0.2))
    assert frame.loc[("multiply-adds", "and factorised"), "share_left"] == 0.25


def test_steps_are_told_by_the_settings_in_which_they_differ() -> None:
    settings = [json.dumps({"low_rank": {"schemes": of, "ratio": 0.5}}) for of in (["svd", "separable"], ["svd"])]
    rows = [factorised_row(str(n), postprocess_settings=of) for n, of in enumerate([*settings, settings[0]])]
    rows.append(trial_row("none", postprocess_settings=json.dumps({"low_rank": None})))
    contexts = list(describe(make_tables(rows).trials)["context"])
    both = "low rank (schemes svd + separable)"
    assert contexts == [both, "low rank (schemes svd)", both, ""]
    assert set(describe(make_tables(rows[:1]).trials)["context"]) == {""}
    assert list(describe(make_tables([rows[0], rows[3]]).trials)["context"]) == ["low rank", ""]
