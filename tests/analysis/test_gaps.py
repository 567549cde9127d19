"""By how much less the partner's choice loses, layer by layer: pairs, means and intervals worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.figures import matched
from analysis.gaps import mean_gaps, paired_layers
from raprune.results import Tables, interval
from tests.analysis.make_tables import layer_row, layers_of_singles, make_tables, single_layers, trial_row
from tests.analysis.pages import html_of

AGENT = {"method": "agent", "drop_bound": 2.0}


def pair(name: str, baseline: str, agents: list[float | None], others: list[float | None], **changes: Any) -> Tables:
    """An agent's trial and a matched one with these scores as cut, layer by layer."""
    own = {"method": "magnitude", "drop_bound": None, "matched_trial_id": name, "baseline_key": baseline}
    trials = [trial_row(name, baseline_key=baseline, **changes), trial_row(f"{name}-m", **own, **changes)]
    scores = zip((name, f"{name}-m"), (agents, others), strict=True)
    layers = [layer_row(of, place, cut_val_score=s) for of, cut in scores for place, s in enumerate(cut)]
    return make_tables(trials, layers)


def both(*parts: Tables) -> Tables:
    trials = [row for part in parts for row in part.trials.to_dict("records")]
    layers = [row for part in parts for row in part.layers.to_dict("records")]
    return make_tables(clean(trials), clean(layers))


def clean(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: None if np.ndim(v) == 0 and pd.isna(v) else v for key, v in row.items()} for row in rows]


def test_a_gap_is_the_partners_score_less_the_matched_trials() -> None:
    pairs = paired_layers(pair("a", "b0", [97.0, 90.0, 95.0], [96.0, 70.0, 95.5]))
    assert pairs["gap"].tolist() == [1.0, 20.0, -0.5]
    assert set(pairs["like"]) == {"agent"}
    assert set(pairs["method"]) == {"magnitude"}
    assert pairs["layer"].tolist() == ["features.0", "features.3", "features.7"]


def test_layers_that_were_not_cut_and_scores_that_are_unknown_have_no_gap() -> None:
    tables = pair("a", "b0", [97.0, None, 95.0], [96.0, 70.0, 95.0])
    tables.layers.loc[tables.layers["layer_index"] == 2, "num_kept"] = 10
    assert paired_layers(tables)["gap"].tolist() == [1.0]


def test_means_are_over_layers_then_baselines_and_repetitions_of_one_baseline_count_once() -> None:
    """Baseline b0: (1 + 3) / 2 in one pair, (3 + 5) / 2 in another, so 3; baseline b1: 7."""
    tables = both(
        pair("a", "b0", [91.0, 93.0], [90.0, 90.0]),
        pair("again", "b0", [93.0, 95.0], [90.0, 90.0], seed=1),
        pair("other", "b1", [97.0, 97.0], [90.0, 90.0]),
    )
    (row,) = mean_gaps(paired_layers(tables), ["like", "method"]).to_dict("records")
    assert (row["gap"], row["num_baselines"], row["num_layers"]) == (5.0, 2, 2)
    assert (row["lowest"], row["highest"]) == (3.0, 7.0)  # of two baselines a quarter of the draws takes one twice
    by_layer = mean_gaps(paired_layers(tables), ["like", "method", "layer_index", "layer"])
    assert by_layer["gap"].tolist() == [(2 + 7) / 2, (4 + 7) / 2]


def test_one_baseline_has_no_interval_however_many_seeds() -> None:
    tables = both(*(pair(name, "b0", [91.0], [90.0], seed=seed) for seed, name in enumerate("abc")))
    (row,) = mean_gaps(paired_layers(tables), ["method"]).to_dict("records")
    assert (row["gap"], row["num_baselines"]) == (1.0, 1)
    assert np.isnan(row["lowest"])
    assert np.isnan(row["highest"])


def test_the_interval_is_that_of_a_mean() -> None:
    values = np.arange(100.0)
    low, high = interval(values)
    error = 1.96 * values.std() / 10
    assert (low, high) == pytest.approx((49.5 - error, 49.5 + error), abs=0.3)
    assert interval(values) == (low, high)


def test_the_figure_has_every_layer_and_their_mean() -> None:
    frame = matched.select(pair("a", "b0", [97.0, 90.0], [96.0, 70.0])).set_index("layer")
    assert frame["gap"].to_dict() == {"features.0": 1.0, "features.3": 20.0, "mean": 10.5}
    assert set(frame["setting"]) == {"drop bound 2"}
    drawn = matched.draw(frame.reset_index())
    assert drawn.axes[0].get_title() == "drop bound 2\nmean: magnitude +10.5"
    assert [tick.get_text() for tick in drawn.axes[0].get_xticklabels()] == ["features.0", "features.3", "mean"]


def test_layers_decided_alone_share_a_panel() -> None:
    trials = single_layers()
    frame = matched.select(make_tables(trials, layers_of_singles(trials)))
    assert set(frame["setting"]) == {"drop bound 2\neach layer alone"}
    assert len(frame) == 2 * (3 + 1)


def test_the_page_leads_with_the_gap_as_cut() -> None:
    one = html_of(pair("a", "b0", [97.0, 90.0], [96.0, 70.0]))
    assert "before fine-tuning, agent loses 10.5 points less than magnitude" in one
    assert "A single baseline has no interval and shows nothing yet" in one
    two = both(pair("a", "b0", [91.0], [90.0]), pair("b", "b1", [93.0], [90.0]))
    assert "before fine-tuning, agent loses 2 points less than magnitude ([1.0, 3.0], 2 baselines)" in html_of(two)
    assert "before fine-tuning, agent" not in html_of(make_tables([trial_row("alone")]))
