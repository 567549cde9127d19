"""What figures tell the page, against values worked out by hand; test_figures.py has what holds for all of them."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import pytest

from analysis import updates as updates_module
from analysis.charts import Chart, Series
from analysis.figures import macs_trade_off, matched, orders, params_trade_off, pictures, rewards, single_layer, speed
from analysis.marks import number, numbers, thinned
from analysis.removed import FRONT
from analysis.updates import FEWEST_POINTS, MOST_POINTS
from raprune.results import Tables
from tests.analysis.cases import CASES
from tests.analysis.make_tables import (
    grid,
    layer_row,
    layers_of_singles,
    make_tables,
    picture_row,
    single_layers,
    speed_rows,
    trial_row,
    update_row,
)


def drawn(module: ModuleType, tables: Tables) -> list[Chart]:
    frame = module.select(tables)
    return [] if frame.empty else module.charts(frame)


def test_numbers_are_plain_and_unknown_ones_are_none() -> None:
    assert numbers([1.0, float("nan"), None, 1 / 3, float("inf"), 123456789]) == [
        1,
        None,
        None,
        0.33333,
        None,
        123456789,
    ]
    assert type(number(make_tables([trial_row("t")]).trials["macs"].iloc[0])) is int


def test_curves_are_thinned_to_so_many_points_first_and_last_kept() -> None:
    updates = [update_row("t", "features.0", update) for update in range(1001)]
    (plot,) = drawn(rewards, make_tables([trial_row("t")], updates=updates))
    (line,) = plot.series
    assert len(line.x) == MOST_POINTS
    assert (line.x[0], line.x[-1], line.y[-1]) == (0, 1000, 100)
    assert set(line.trials) == {"t"}


def test_many_curves_are_thinned_further(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updates_module, "MOST_IN_ALL", 1_000)
    number_of = 2 * 1_000 // MOST_POINTS
    layers = [layer_row("t", 0, layer=f"conv{n}", layer_index=n) for n in range(number_of)]
    updates = [update_row("t", f"conv{n}", update) for n in range(number_of) for update in range(MOST_POINTS)]
    plots = drawn(rewards, make_tables([trial_row("t")], layers, updates))
    assert FEWEST_POINTS < len(plots[0].series[0].x) == MOST_POINTS // 2
    assert thinned(make_tables([trial_row("t")]).trials, 1).shape[0] == 1


def test_intervals_of_single_baselines_and_whiskers_of_single_trials_are_none() -> None:
    (one, *_) = drawn(matched, make_tables(grid(bounds=(1.0,), orders=("low_to_high",), seeds=(0,))))
    assert {value for series in one.series for value in (*series.low, *series.high)} == {None}
    assert one.x.ticks == ["features.0", "features.3", "features.7", "mean"]
    assert [series.marker for series in one.series] == ["o", "D"]
    for bars in drawn(orders, make_tables(grid(seeds=(0,)))):
        assert all(bar.low is None for _, members in bars.clusters for bar in members)
    several = drawn(orders, make_tables(grid(seeds=(0, 1))))[0].clusters[0][1][0]
    assert (several.value, several.low, several.high) == (35.5, 35, 36)
    assert several.note == "+1.5 lost on test, 1.23k candidates, mean of 2 trials"


def test_bounds_are_lines_and_layers_are_clusters() -> None:
    (bars,) = drawn(single_layer, make_tables(single_layers(), layers_of_singles(single_layers())))
    assert bars.lines == [(2.0, "drop bound 2")]
    assert [label for label, _ in bars.clusters] == ["1: features.0", "2: features.3", "3: features.7"]
    assert [(bar.name, bar.value) for bar in bars.clusters[0][1]] == [("agent", 1), ("magnitude", 2), ("random", 3)]


def test_speed_has_what_the_multiply_adds_suggest_beside_it() -> None:
    tables = make_tables([trial_row("t")], speed=speed_rows("t", 0.0103) + speed_rows("t", batch_size=64))
    (bars,) = drawn(speed, tables)
    assert bars.lines == [(1.0, "baseline")]
    assert [(bar.name, bar.value) for bar in bars.clusters[0][1]] == [
        ("eager, batch size 1", 1.03),
        ("eager, batch size 64", 2),
        (speed.THEORY, 2),
    ]


def test_pictures_say_how_accurate_they_are() -> None:
    tables = make_tables([trial_row("t")], pictures=[picture_row("t", "stayed", 0)])
    (shown,) = drawn(pictures, tables)
    ((label, trial, row),) = shown.rows
    assert (label, trial, shown.columns) == ("unchanged", "t", ("image", "label", "baseline", "pruned"))
    assert [picture.caption for picture in row] == ["image 10", "", "80.0", "82.5 (+2.5)"]
    assert [name for name, _ in shown.legend] == ["sky", "road", "class 2"]


def published(tables: Tables) -> dict[str, list[Series]]:
    charts = drawn(macs_trade_off, tables)
    return {plot.title: [s for s in plot.series if s.name == "Huang et al. 2018"] for plot in charts}  # type: ignore[union-attr]


def test_the_papers_points_stand_behind_its_own_networks_only() -> None:
    found = published(make_tables([trial_row("t", dataset="cifar10")]))
    assert next((s.x, s.y, s.look, s.trials) for s in found["test"]) == ([45], [0.6], "hollow", ())
    assert len(found["test"]) == 4
    assert found["validation"] == []
    for other in ({"dataset": "digits"}, {"model": "segnet"}, {"model_settings": '{"width": 0.125}'}):
        assert not any(published(make_tables([trial_row("t", **{"dataset": "cifar10"} | other)])).values())
    untested = published(make_tables([trial_row("t", dataset="cifar10", model="resnet18", test_score_drop=None)]))
    assert [s.x for s in untested["validation"]] == [[24.2], [35.5], [64.7], [76]]


def test_the_front_is_that_of_multiply_adds() -> None:
    trials = [
        trial_row("best", macs=2000, pruning_ratio=0.1, val_score_drop=0.5),
        trial_row("worse", macs=3000, pruning_ratio=0.9, val_score_drop=1.0),
        trial_row("less", macs=6000, pruning_ratio=0.2, val_score_drop=0.25),
    ]
    plot = drawn(macs_trade_off, make_tables(trials))[0]
    (front,) = [series for series in plot.series if series.name == FRONT]
    assert (front.x, front.y) == ([25, 75], [0.25, 0.5])
    assert plot.lines == [(2.0, "bound 2")]
    high = replace(CASES["one trial"], trials=make_tables([*trials, trial_row("bad", macs=8000)]).trials)
    (front,) = [series for series in drawn(macs_trade_off, high)[0].series if series.name == FRONT]
    assert (front.x, front.y) == ([0, 25, 75], [0.25, 0.25, 0.5])


def test_parameters_have_a_front_of_their_own_without_the_papers_points() -> None:
    trials = [
        trial_row("small", dataset="cifar10", baseline_params=1000, params=200, macs=9000, val_score_drop=0.5),
        trial_row("fast", dataset="cifar10", baseline_params=1000, params=600, macs=1000, val_score_drop=1.0),
    ]
    plot = drawn(params_trade_off, make_tables(trials))[0]
    assert plot.x.label == "parameters removed (%)"
    (front,) = [series for series in plot.series if series.name == FRONT]
    assert (front.x[-1], front.y[-1]) == (80, 0.5)
    assert all(series.name != "Huang et al. 2018" for series in plot.series)
