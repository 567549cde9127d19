"""Which segmented images the report shows, and what it says about them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from analysis.figures import pictures
from analysis.segmentation import classes, pixels
from raprune.results import Tables
from tests.analysis.cases import KINDS
from tests.analysis.make_pictures import colour, png_map
from tests.analysis.make_tables import Row, grid, make_tables, picture_row, trial_row


def with_pictures(trials: list[Row], places: int = 3, **changes: Any) -> Tables:
    rows = [
        picture_row(trial["trial_id"], kind, place, **changes)
        for trial in trials
        for kind in KINDS
        for place in range(places)
    ]
    return make_tables(trials, pictures=rows)


def test_the_agents_first_seed_of_each_bound_is_shown() -> None:
    trials = grid(bounds=(1.0, 4.0), orders=("low_to_high",), methods=("magnitude", "agent"))
    frame = pictures.select(with_pictures(trials))
    assert list(dict.fromkeys(frame["trial_id"])) == ["1.0-low_to_high-agent-0", "4.0-low_to_high-agent-0"]
    assert list(frame["kind"]) == ["improved", "stayed", "worse"] * 2
    assert set(frame["place"]) == {0}


def test_of_one_trial_all_pictures_are_shown_and_of_many_bounds_three() -> None:
    frame = pictures.select(with_pictures([trial_row("only")]))
    assert list(zip(frame["kind"], frame["place"], strict=True)) == [(kind, p) for kind in KINDS for p in range(3)]
    many = grid(bounds=(0.5, 1.0, 2.0, 4.0, 8.0), orders=("low_to_high",), methods=("agent",), seeds=(0,), matched=())
    assert list(dict.fromkeys(pictures.select(with_pictures(many))["bound"])) == ["0.5", "2", "8"]


def test_a_matched_trial_stands_in_where_it_alone_has_pictures() -> None:
    rows = grid(bounds=(1.0,), orders=("low_to_high",), methods=("agent",), seeds=(0,))
    tables = make_tables(rows, pictures=[picture_row(rows[1]["trial_id"], "worse", 0)])
    assert list(pictures.select(tables)["method"]) == ["random"]
    assert pictures.select(make_tables(rows)).empty


def test_the_accuracies_are_under_the_pictures() -> None:
    changes = {"baseline_global_accuracy": 81.24, "pruned_global_accuracy": 79.0, "change": -2.24, "image_index": 7}
    tables = make_tables([trial_row("t")], pictures=[picture_row("t", "worse", 0, **changes)])
    figure = pictures.draw(pictures.select(tables))
    assert [axes.get_title() for axes in figure.axes] == ["image", "label", "baseline", "pruned"]
    assert [axes.get_xlabel() for axes in figure.axes] == ["image 7", "", "global accuracy 81.2", "→ 79.0 (−2.2)"]
    assert figure.axes[0].get_ylabel() == "worse"
    assert figure.subfigs[0].get_suptitle() == "agent, drop bound 2, seed 0"


def test_the_pictures_are_those_of_the_table() -> None:
    tables = make_tables([trial_row("t")], pictures=[picture_row("t", "stayed", 0, pruned=png_map((1,)))])
    _, label, _, pruned = pictures.draw(pictures.select(tables)).axes
    shown = np.asarray(pruned.get_images()[0].get_array())
    assert shown.shape == (4, 6, 3)
    assert (shown == colour(1)).all()
    assert np.asarray(label.get_images()[0].get_array())[0, :3].tolist() == [list(colour(index)) for index in range(3)]


def test_the_legend_names_the_classes_that_are_shown() -> None:
    maps = {"label": png_map((0, 255)), "baseline": png_map((1, 2)), "pruned": png_map((1,))}
    frame = pictures.select(make_tables([trial_row("t")], pictures=[picture_row("t", "worse", 0, **maps)]))
    figure = pictures.draw(frame)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["sky", "road", "class 2", "void"]
    found = classes(maps.values())
    assert found["road"] == pytest.approx([value / 255 for value in colour(1)])


def test_maps_are_read_as_raprune_writes_them() -> None:
    torch = pytest.importorskip("torch")
    from raprune.engine.pictures import PALETTE, choose_pictures

    labels = torch.tensor([[[0, 1, 255]]], dtype=torch.uint8)
    logits = torch.zeros(1, 2, 1, 3)
    image = torch.zeros(1, 3, 1, 3, dtype=torch.uint8)
    (row,) = choose_pictures([(image, labels, logits, logits, 0)], class_names=("sky", "road"))
    assert list(classes([row["label"]])) == ["sky", "road", "void"]
    assert pixels(row["label"])[0].tolist() == [list(PALETTE[0]), list(PALETTE[1]), [0, 0, 0]]
