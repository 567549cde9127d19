"""Trials that decide one layer each have their own figure; no other takes them for whole networks."""

from __future__ import annotations

import json

import pytest

from analysis.figures import layer_ratios, matched_end, orders, single_layer, trade_off
from analysis.frames import completed_trials
from raprune.results import Tables
from tests.analysis.make_tables import LAYERS, layer_row, layers_of_singles, make_tables, single_layers, trial_row
from tests.analysis.test_values import texts


def singles() -> Tables:
    return make_tables(single_layers(), layers_of_singles(single_layers()))


def test_bars_are_means_over_seeds_of_each_layer_and_method() -> None:
    rows, layers = [], []
    for seed, (drop, ratio) in enumerate([(1.0, 0.2), (4.0, 0.4)]):
        for layer in (1, 0):
            own = {"layers": json.dumps([LAYERS[layer]]), "seed": seed, "test_score_drop": drop + layer}
            rows.append(trial_row(f"{layer}-{seed}", **own))
            layers.append(layer_row(f"{layer}-{seed}", layer, prune_step=0, pruning_ratio=ratio))
    frame = single_layer.select(make_tables(rows, layers))
    assert list(frame["layer"]) == ["features.0", "features.3"]
    assert list(frame["score_drop"]) == [2.5, 3.5]
    assert list(frame["pruning_ratio"]) == pytest.approx([0.3, 0.3])
    assert list(zip(frame["lowest"], frame["highest"], frame["num_trials"], strict=True)) == [(1, 4, 2), (2, 5, 2)]
    assert set(frame["split"]) == {"test"}


def test_without_a_test_split_it_is_the_validation_score() -> None:
    rows = single_layers(test_score=None, test_score_drop=None, val_score_drop=0.5)
    frame = single_layer.select(make_tables(rows, layers_of_singles(rows)))
    assert set(frame["split"]) == {"validation"}
    assert set(frame["score_drop"]) == {0.5}


def test_matched_methods_stand_beside_their_partner() -> None:
    frame = single_layer.select(singles())
    assert list(frame["method"])[:3] == ["agent", "magnitude", "random"]
    assert list(frame["score_drop"])[:3] == [1.0, 2.0, 3.0]
    assert set(frame["bound"]) == {"2"}


def test_fine_tuning_makes_a_panel_of_its_own() -> None:
    without = single_layers(finetune_settings=json.dumps({"after_layer": {"epochs": 0}}))
    tuned = single_layers(finetune_settings=json.dumps({"after_layer": {"epochs": 1}}), test_score_drop=0.0)
    frame = single_layer.select(make_tables(without + tuned, layers_of_singles(without + tuned)))
    assert list(dict.fromkeys(frame["context"])) == ["after_layer epochs 0", "after_layer epochs 1"]
    titles = [axes.get_title() for axes in single_layer.draw(frame).axes]
    assert titles == ["test, drop bound 2, after_layer epochs 0", "test, drop bound 2, after_layer epochs 1"]


def test_the_ratio_is_told_once_where_it_is_the_same() -> None:
    assert texts(single_layer.draw(single_layer.select(singles()))) == ["40%"] * 3
    layers = layers_of_singles(single_layers())
    layers[1]["pruning_ratio"] = 0.7
    different = single_layer.select(make_tables(single_layers(), layers))
    assert sorted(texts(single_layer.draw(different))) == ["40%"] * 8 + ["70%"]


def test_many_layers_are_drawn_in_even_rows() -> None:
    rows, layers = [], []
    for index in range(26):
        rows.append(trial_row(str(index), layers=json.dumps([f"decoder.stage4.{index}.a_long_name.conv"])))
        layers.append(layer_row(str(index), 0, layer=f"decoder.stage4.{index}.a_long_name.conv", layer_index=index))
    figure = single_layer.draw(single_layer.select(make_tables(rows, layers)))
    names = [[label.get_text() for label in axes.get_xticklabels()] for axes in figure.axes]
    assert [len(of) for of in names] == [13, 13]
    assert names[1][-1] == "26: …tage4.25.a_long_name.conv"
    assert figure.axes[0].get_ylabel() == "top1_accuracy drop (points)"


def test_other_figures_leave_them_out_or_apart() -> None:
    rows = [*single_layers(), trial_row("whole", pruning_ratio=0.3)]
    layers = [
        *layers_of_singles(single_layers()),
        *(layer_row("whole", index, pruning_ratio=0.9) for index in range(3)),
    ]
    tables = make_tables(rows, layers)
    assert set(trade_off.select(tables)["trial_id"]) == {"whole"}
    assert matched_end.select(tables).empty
    assert orders.select(tables).empty
    assert set(single_layer.select(tables)["context"]) == {"each layer alone"}
    ratios = layer_ratios.select(tables).groupby("context")["pruning_ratio"].agg(["mean", "size"])
    assert ratios.to_dict("index") == {
        "": {"mean": pytest.approx(0.9), "size": 3},
        "each layer alone": {"mean": pytest.approx(0.4), "size": 3},
    }


def test_one_chosen_layer_is_no_study_of_single_layers() -> None:
    tables = make_tables([trial_row("one", layers=json.dumps(["features.0"])), trial_row("all")])
    assert not completed_trials(tables)["single"].any()
    assert single_layer.select(tables).empty
    assert len(trade_off.select(tables)) == 4
