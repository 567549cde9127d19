"""How much faster the pruned networks are, against values worked out by hand."""

from __future__ import annotations

import pytest

from analysis.figures import speed
from analysis.frames import completed_trials
from tests.analysis.make_tables import make_tables, speed_rows, trial_row


def test_old_over_new_of_medians_and_of_macs() -> None:
    rows = speed_rows("t", 0.03, 0.01) + speed_rows("t", 0.03, 0.04, batch_size=64, backend="onnxruntime")
    frame = speed.select(make_tables([trial_row("t"), trial_row("not-benched", seed=1)], speed=rows))
    found = frame.set_index(["backend", "batch_size"])
    assert found["measured"].to_dict() == pytest.approx({("eager", 1): 3.0, ("onnxruntime", 64): 0.75})
    assert set(found["theoretical"]) == {2.0}
    assert set(found["machine"]) == {"cpu, 1 thread"}
    assert set(found["trial"]) == {"agent, bound 2"}


def test_means_are_over_seeds_alone() -> None:
    trials = [trial_row("a"), trial_row("b", seed=1), trial_row("c", residual="coupled")]
    rows = speed_rows("a", 0.02) + speed_rows("b", 0.04) + speed_rows("c", 0.05)
    frame = speed.select(make_tables(trials, speed=rows)).set_index("trial")
    assert frame["measured"].tolist() == pytest.approx([3.0, 5.0])
    assert frame.iloc[0][["lowest", "highest", "num_trials"]].tolist() == pytest.approx([2.0, 4.0, 2])
    assert [name.splitlines()[-1] for name in frame.index] == ["independent", "coupled"]


def test_machines_are_panels_and_hosts_are_named_where_there_are_several() -> None:
    rows = speed_rows("t") + speed_rows("t", device="NVIDIA X", threads=2)
    tables = make_tables([trial_row("t")], speed=rows)
    assert set(speed.select(tables)["machine"]) == {"cpu, 1 thread", "NVIDIA X, 2 threads"}
    assert len(speed.draw(speed.select(tables)).axes) == 2
    other = make_tables([trial_row("t")], speed=speed_rows("t") + speed_rows("t", host="there"))
    assert set(speed.select(other)["machine"]) == {"cpu, 1 thread, here", "cpu, 1 thread, there"}


def test_a_network_without_its_counterpart_is_left_out() -> None:
    assert speed.select(make_tables([trial_row("t")], speed=speed_rows("t")[:1])).empty


def test_every_series_has_a_bar_and_a_colour_and_every_trial_its_theory() -> None:
    rows = [row for of in "ab" for size in (1, 64) for row in speed_rows(of, batch_size=size)]
    frame = speed.select(make_tables([trial_row("a"), trial_row("b", drop_bound=4.0)], speed=rows))
    figure = speed.draw(frame)
    (axes,) = figure.axes
    assert len(axes.patches) == 4
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "eager, batch size 1",
        "eager, batch size 64",
    ]
    dashes = [line for line in axes.lines if list(line.get_ydata()) == [2.0, 2.0]]
    assert len(dashes) == 2


def test_rounded_trials_are_told_apart_and_old_ones_were_not_rounded() -> None:
    trials = [trial_row("old"), trial_row("one", round_to=1), trial_row("eight", round_to=8)]
    assert completed_trials(make_tables(trials))["context"].tolist() == ["", "", "rounded to 8"]
