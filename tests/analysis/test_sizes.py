"""How large the page is, and what it leaves out to stay so."""

from __future__ import annotations

import json
import time

import pytest

from analysis import trial_views
from analysis.charts import Axis, Bar, Bars, Picture, Pictures, Plot, Series
from analysis.page.encode import MOST_POINTS, encoded, thinned
from analysis.plots import page_of
from analysis.studies import report_of
from tests.analysis.cases import CASES
from tests.analysis.make_tables import layer_row, make_tables, trial_row
from tests.analysis.pages import data_of


def large_page(number: int) -> tuple[str, float]:
    """The page of so many trials, and the processor time that it took."""
    rows = [
        trial_row(f"{n:012x}", seed=n, method=("agent", "random")[n % 2], pruning_ratio=n / 2000) for n in range(number)
    ]
    layers = [layer_row(row["trial_id"], index) for row in rows for index in range(3)]
    tables = make_tables(rows, layers, [])
    start = time.process_time()
    return page_of(report_of(tables)), time.process_time() - start


@pytest.mark.slow
def test_a_page_of_a_thousand_trials_is_small_and_soon_there() -> None:
    """Its time grows with the trials, at the most."""
    _, tenth_s = large_page(100)
    page, whole_s = large_page(1000)
    assert whole_s < 20 * tenth_s
    assert len(page.encode()) < 1_200_000
    assert len(data_of(page)["trials"]) == 1000


def test_a_small_study_has_a_page_well_below_its_limit() -> None:
    assert len(page_of(report_of(CASES["everything"])).encode()) < 300_000


def test_masks_beyond_the_budget_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_views, "MASK_BYTES", 4)
    views = trial_views.trial_views(report_of(make_tables([trial_row("a"), trial_row("b")])))
    assert [layer[-1] for layer in views["a"]["layers"]] == ["fc00"] * 3  # 6 of 10 kept, the first bit first
    assert [layer[-1] for layer in views["b"]["layers"]] == [None] * 3


def test_a_long_curve_keeps_its_ends_and_its_peaks() -> None:
    number = 10_000
    y = [0.0] * number
    y[1234], y[4321] = 9.0, -9.0
    short = thinned(Series("agent", [*range(number)], y, look="line"))
    assert len(short.x) <= MOST_POINTS + 2
    assert (short.x[0], short.x[-1]) == (0, number - 1)
    assert (max(short.y), min(short.y)) == (9.0, -9.0)
    assert short.x == sorted(short.x)
    points = Series("agent", [*range(number)], y, trials=["t"] * number)
    assert thinned(points) is points


def test_a_gap_in_a_long_curve_stays_no_point() -> None:
    number = 2000
    short = thinned(Series("agent", [*range(number)], [None] * 1000 + [1.0] * 1000, look="steps"))
    assert set(short.y) == {None, 1.0}


def test_charts_become_plain_data() -> None:
    plot = Plot("p", Axis("x"), Axis("y", linear_to=2.0), [Series("s", [1.0, 0.1234567], [float("nan"), None])])
    bars = Bars("b", "%", [("c", [Bar("n", 1.5)])])
    pictures = Pictures("q", ["c"], [("r", "t", [Picture(b"png")])])
    found = json.loads(json.dumps([encoded(chart) for chart in (plot, bars, pictures)], allow_nan=False))
    assert found[0]["series"] == [{"name": "s", "x": [1, 0.123457], "y": [None, None]}]
    assert found[0]["y"] == {"label": "y", "linear_to": 2}
    assert found[1] == {"kind": "bars", "title": "b", "unit": "%", "clusters": [["c", [{"name": "n", "value": 1.5}]]]}
    assert found[2]["rows"][0][2][0]["png"] == "data:image/png;base64,cG5n"
