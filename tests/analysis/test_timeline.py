"""The timeline of evaluators: from candidates to the map in the report."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from analysis.figures import timeline
from raprune.results import SCHEMAS, TrialStore, read_study, write_json
from raprune.results.timeline import MOST_BINS, Timeline
from tests.analysis.make_tables import (
    STUDY,
    candidate_row,
    layer_row,
    make_tables,
    manifest,
    timeline_rows,
    trial_row,
)


def candidates(*changes: dict[str, Any]) -> pa.Table:
    rows = [candidate_row("t", "features.0", number, **each) for number, each in enumerate(changes)]
    return pa.Table.from_pylist(rows, schema=SCHEMAS["candidates"])


def scored(at: float, seconds: float, evaluator: str = "e") -> dict[str, Any]:
    return {"scored_at": at, "score_s": seconds, "evaluator": evaluator}


def test_a_candidate_is_busy_time_in_each_bin_that_it_touches() -> None:
    found = Timeline("s")
    found.add(candidates(scored(10.0, 0.3), scored(10.0, 0.1), scored(20.0, 0.1, "other")))
    frame = found.frame()
    assert frame[frame["evaluator"] == "e"]["busy_s"].tolist() == pytest.approx([0.025, 0.125, 0.125, 0.125])
    assert frame[frame["evaluator"] == "e"]["start_s"].tolist() == pytest.approx([9.5, 9.625, 9.75, 9.875])
    assert frame["busy_s"].sum() == pytest.approx(0.5)
    assert set(frame["study"]) == {"s"}


def test_it_stays_small_and_loses_no_second() -> None:
    found, number = Timeline("s"), 5 * MOST_BINS
    for place in range(number):
        found.add(candidates(scored(1.7e9 + 7.3 * place, 1.0, f"e{place % 3}")))
    found.add(candidates(scored(1.7e9, 90_000.0)))
    frame = found.frame()
    assert frame["start_s"].nunique() <= MOST_BINS
    assert frame["busy_s"].sum() == pytest.approx(number + 90_000)
    assert math.log2(frame["width_s"].iloc[0]).is_integer()


@pytest.mark.parametrize(
    "wrong",
    [scored(math.nan, 1.0), scored(1e300, 1.0), scored(-5.0, 1.0), scored(10.0, math.inf), scored(10.0, -1.0),
     scored(10.0, 1e300), {"scored_at": None}, {"evaluator": None}],
)  # fmt: skip
def test_impossible_values_are_left_out(wrong: dict[str, Any]) -> None:
    found = Timeline("s")
    found.add(candidates(wrong, scored(50.0, 0.1, "sound")))
    assert set(found.frame()["evaluator"]) == {"sound"}


def test_it_is_read_with_the_sums_of_candidates(tmp_path: Path) -> None:
    write_json(tmp_path / "manifest.json", manifest([trial_row("t")]))
    store = TrialStore(tmp_path, STUDY, "t")
    for step in range(2):
        rows = [
            {key: value for key, value in row.items() if key not in ("study", "trial_id")}
            for row in candidates(scored(100.0 + step, 0.1, f"e{step}"), {"scored_at": None}).to_pylist()
        ]
        layer = {key: value for key, value in layer_row("t", step).items() if key not in ("study", "trial_id")}
        store.write_layer(step, layer, [], rows)
    found = read_study(tmp_path, sums={"candidates": ["score_s"]})
    assert found.timeline.groupby("evaluator")["busy_s"].sum().to_dict() == pytest.approx({"e0": 0.1, "e1": 0.1})
    assert found.candidates["score_s"].tolist() == pytest.approx([0.11, 0.11])
    assert found.candidates.columns.tolist() == ["study", "trial_id", "score_s"]
    assert read_study(tmp_path).timeline.empty


def test_rows_are_evaluators_in_their_order_below_the_mean() -> None:
    rows = [*timeline_rows("evaluator-10", 0.5, 0.0, 1.0), *timeline_rows("evaluator-2", 0.0, 0.25)]
    (chart,) = timeline.charts(timeline.select(make_tables([], timeline=rows)))
    assert chart.rows == ["all 2 evaluators", "evaluator-2", "evaluator-10"]
    assert chart.columns == ["0:00:00", "0:00:04", "0:00:08"]
    assert chart.values == [[25.0, 12.5, 50.0], [0.0, 25.0, 0.0], [50.0, 0.0, 100.0]]


def test_a_study_in_process_has_one_row() -> None:
    frame = timeline.select(make_tables([], timeline=timeline_rows("in-process", 1.0)))
    assert frame["evaluator"].tolist() == ["in-process"]


def test_a_long_pause_takes_little_room() -> None:
    later = timeline_rows("e", 0.5)[0] | {"start_s": 1.7e9 + 86_400}
    frame = timeline.select(make_tables([], timeline=[*timeline_rows("e", 0.5), later]))
    assert frame["since_s"].tolist() == [0, 4, 8, 86_400]
    assert frame["busy_share"].tolist() == [0.5, 0, 0, 0.5]
    assert timeline.charts(frame)[0].columns[-1] == "1 day, 0:00:00"


def test_many_evaluators_and_bins_fit_into_the_page() -> None:
    rows = [row for number in range(100) for row in timeline_rows(f"e{number}", *[0.5] * 300)]
    (chart,) = timeline.charts(timeline.select(make_tables([], timeline=rows)))
    assert len(chart.rows) == timeline.MOST_ROWS + 1
    assert len(chart.columns) <= timeline.MOST_COLUMNS
    assert {value for row in chart.values for value in row[:-1]} == {50.0}
    assert re.fullmatch(r"e0 to e\d", chart.rows[1])


@pytest.mark.parametrize(
    ("times_s", "shown"),
    [
        ([0.0, 60.0, 3725.0], ["0:00:00", "0:01:00", "1:02:05"]),
        ([0.0, 0.5, 1.0], ["0:00:00.0", "0:00:00.5", "0:00:01.0"]),
        ([0.0, 0.0625, 59.875], ["0:00:00.00", "0:00:00.06", "0:00:59.87"]),
        ([0.0, 0.001953125, 0.00390625], ["0:00:00.000", "0:00:00.001", "0:00:00.003"]),
    ],
)
def test_a_study_of_seconds_has_columns_of_different_names(times_s: list[float], shown: list[str]) -> None:
    assert timeline._clocks(times_s) == shown
