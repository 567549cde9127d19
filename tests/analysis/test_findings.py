"""The findings page: paired differences, their intervals, and the tables, on rows made by hand."""

from __future__ import annotations

import json
import math
from typing import Any

import pandas as pd
import pytest

from analysis.findings import BEFORE, HEADINGS, labelled, page, paired, shown, table

RATIOS = {
    ("agent", "trim"): [0.10, 0.20, 0.30],
    ("magnitude", "prefix"): [0.05, 0.10],
    ("taylor", "search"): [0.16, 0.26, 0.36],
}
"""Shares pruned of baselines 0, 1, 2."""


def row(method: str, decision: str, baseline: int, ratio: float, **others: Any) -> dict[str, Any]:
    settings = {"prior": None, "max_updates": 30} if method == "agent" else {}
    return {
        "study": "decisions", "trial_id": f"{method} {decision} {baseline} {others}", "method": method,
        "decision": decision, "baseline_key": f"b{baseline}", "pruning_ratio": ratio, "fidelity": "forward only",
        "method_settings": json.dumps(settings), "drop_bound": 1.0, "candidates_per_layer": 60, "macs": 75,
        "baseline_macs": 100, "val_score_drop": 0.5, "guard_score_drop": None, "test_score_drop": baseline / 1.0,
        "num_candidates": 1200, "num_order_candidates": 0, "images_scored": 50_000,
        "part": "before" if (method, decision) == ("agent", "trim") else "criteria",
    } | others  # fmt: skip


@pytest.fixture
def trials() -> pd.DataFrame:
    rows = [row(*pair, i, ratio) for pair, ratios in RATIOS.items() for i, ratio in enumerate(ratios)]
    return pd.DataFrame(rows)


def test_differences_are_paired_by_baseline(trials: pd.DataFrame) -> None:
    mean, low, high = paired(labelled(trials), ("taylor", "search"), BEFORE)
    assert (mean, low, high) == pytest.approx((6.0, 6.0, 6.0))  # the baselines differ by far more, but cancel


def test_only_baselines_that_both_have_count(trials: pd.DataFrame) -> None:
    mean, low, high = paired(labelled(trials), BEFORE, ("magnitude", "prefix"))
    assert mean == pytest.approx(7.5)
    assert (low, high) == pytest.approx((5.0, 10.0))


def test_a_single_baseline_has_no_interval_and_none_no_difference(trials: pd.DataFrame) -> None:
    one = labelled(trials[trials["baseline_key"] == "b0"])
    mean, low, high = paired(one, ("taylor", "search"), BEFORE)
    assert mean == pytest.approx(6.0)
    assert math.isnan(low)
    assert math.isnan(high)
    assert shown(mean, low, high) == "+6.0"
    assert shown(*paired(one, ("taylor", "search"), ("ridge", "trim"))) == "-"


def test_a_table_has_a_row_for_each_pair_the_most_pruned_first(trials: pd.DataFrame) -> None:
    lines = table(labelled(trials)).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| taylor", f"| {BEFORE[0]}", "| magnitude"]
    best = [cell.strip() for cell in lines[2].strip("| ").split("|")]
    assert best[:9] == ["taylor", "search", "3", "26.0%", "25.0%", "+0.5", "-", "+1.0", "33%"]
    assert best[9:11] == ["1.2k", "50k"]
    assert best[11] == "+6.0 [+6.0, +6.0]"
    assert "reference" in lines[3]


def test_what_is_unusual_stands_in_the_name(trials: pd.DataFrame) -> None:
    others = [
        row("agent", "trim", 0, 0.2, part="old", candidates_per_layer=100_000),
        row("taylor", "search", 0, 0.2, part="alone"),
        row("taylor", "search", 1, 0.2, part="default", candidates_per_layer=49),
        row("magnitude", "lazy_greedy", 0, 0.2, candidates_per_layer=120),
        row("agent", "search", 0, 0.2, method_settings=json.dumps({"prior": "taylor"})),
    ]
    names = set(labelled(pd.concat([trials, pd.DataFrame(others)]))["ranking"])
    assert {"agent, 30 updates, no limit", "magnitude, 120 a layer", "agent from taylor"} < names
    assert {"taylor, credit auto", "agent, low to high, no credit"} < names
    assert "taylor, credit auto, joint passes, 49 a layer" in names


def test_lazy_greedy_is_a_reference_where_it_was_run(trials: pd.DataFrame) -> None:
    lazy = pd.DataFrame([row("magnitude", "lazy_greedy", i, 0.15 + i / 10, candidates_per_layer=120) for i in range(3)])
    heading, _, best, *_ = table(labelled(pd.concat([trials, lazy]))).splitlines()
    assert heading.endswith("against magnitude, 120 a layer + lazy_greedy |")
    assert best.endswith("| +1.0 [+1.0, +1.0] |")
    assert "lazy_greedy" not in table(labelled(trials))


def test_joint_passes_are_compared_with_none(trials: pd.DataFrame) -> None:
    ways = [("alone", 60, 0.2), ("default", 49, 0.25)]
    both = [
        row("taylor", "search", seed, ratio + seed / 100, part=part, candidates_per_layer=most)
        for part, most, ratio in ways for seed in range(3)
    ]  # fmt: skip
    heading, *lines = table(labelled(pd.concat([trials, pd.DataFrame(both)]))).splitlines()
    assert heading.endswith("against taylor, credit auto + search |")
    (joint,) = [line for line in lines if line.startswith("| taylor, credit auto, joint passes, 49 a layer |")]
    assert joint.endswith("| +5.0 [+5.0, +5.0] |")


def test_the_page_has_a_table_for_each_network_and_fidelity(trials: pd.DataFrame) -> None:
    other = trials.assign(fidelity="recalibrate=2 batches", trial_id=trials["trial_id"] + " recalibrated")
    text = page(pd.concat([trials, other, trials]), trials)
    assert text.count("| taylor | search | 3 |") == 3  # two fidelities, and once among those of today
    assert text.index("## As it is now") < text.index(f"### {HEADINGS['decisions']}\n") < text.index("### Forward")
    assert f"## {HEADINGS['decisions']}\n" in text
    assert HEADINGS["decisions_segnet"] + "\n" not in text.replace("(SegNet on scenes of digits)", "")
    assert page(pd.concat([trials, other, trials]), trials) == text
