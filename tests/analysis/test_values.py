"""The figures' tables, against values worked out by hand."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from matplotlib.figure import Figure

from analysis.figures import layer_ratios, matched_end, orders, rewards, sampled_ratios, trade_off
from analysis.frames import completed_trials
from analysis.labels import drop_text, in_bound_order
from analysis.removed import pareto
from tests.analysis.make_tables import Row, grid, layer_row, make_tables, trial_row, unfinished_row, update_row


def texts(figure: Figure) -> list[str]:
    """What is written into the axes, empty annotations aside."""
    return [text.get_text() for axes in figure.axes for text in axes.texts if text.get_text().strip()]


def test_pareto_front_with_ties() -> None:
    points = {
        (0.1, 0.0): False,  # (0.2, -0.5) prunes more and loses less
        (0.2, -0.5): True,
        (0.3, 1.0): True,
        (0.3, 1.5): False,  # as much pruned, more lost
        (0.25, 1.0): False,  # less pruned, as much lost
        (0.4, 6.0): True,
    }
    ratio, drop = (pd.Series(column) for column in zip(*points, strict=True))
    assert list(pareto(ratio, drop)) == list(points.values())


def test_equal_points_are_both_on_the_front() -> None:
    front = pareto(pd.Series([0.2, 0.2, 0.1]), pd.Series([1.0, 1.0, 2.0]))
    assert list(front) == [True, True, False]


def test_front_of_one_network_is_not_beaten_by_another() -> None:
    small = trial_row("small", model="vgg16", pruning_ratio=0.2, val_score_drop=1.0)
    large = trial_row("large", model="resnet18", pruning_ratio=0.9, val_score_drop=-1.0)
    frame = trade_off.select(make_tables([small, large]))
    assert frame["pareto"].all()
    assert set(frame["context"]) == {"vgg16", "resnet18"}


def test_trade_off_has_a_row_for_each_trial_and_split() -> None:
    trials = [trial_row("a", pruning_ratio=0.5), trial_row("b", test_score_drop=None)]
    frame = trade_off.select(make_tables(trials)).set_index(["trial_id", "split"])
    assert list(frame.index) == [("a", "validation"), ("b", "validation"), ("a", "test")]
    assert frame.loc[("a", "test"), "score_drop"] == 1.5
    assert frame.loc[("a", "validation"), "pruning_ratio"] == 0.5


def test_a_matched_trial_has_its_partners_bound() -> None:
    partner = trial_row("p", drop_bound=4.0)
    follower = trial_row("f", method="random", drop_bound=None, matched_trial_id="p")
    other = trial_row("o", method="magnitude", drop_bound=0.5)
    trials = completed_trials(make_tables([partner, other, follower])).set_index("trial_id")
    assert trials["bound"].to_dict() == {"p": "4", "o": "0.5", "f": "4"}
    assert trials["matched"].to_dict() == {"p": False, "o": False, "f": True}


def test_the_partner_may_have_failed_or_be_gone() -> None:
    partner = unfinished_row("p", "failed", "no", drop_bound=4.0)
    followers = [
        trial_row("f", method="random", drop_bound=None, matched_trial_id="p"),
        trial_row("g", method="random", drop_bound=None, matched_trial_id="gone", val_score=97.0),
    ]
    trials = completed_trials(make_tables([partner, *followers])).set_index("trial_id")
    assert trials["bound"].to_dict() == {"f": "4", "g": "none"}


def test_layer_ratios_are_means_over_seeds_without_matched_trials() -> None:
    trials = [
        trial_row("s0"),
        trial_row("s1", baseline_key="b1"),
        trial_row("m", drop_bound=None, matched_trial_id="s0"),
    ]
    layers = [
        layer_row("s0", 0, pruning_ratio=0.2),
        layer_row("s1", 0, pruning_ratio=0.6),
        layer_row("s0", 1, pruning_ratio=0.1),
        layer_row("s1", 1, pruning_ratio=0.1),
        layer_row("m", 0, pruning_ratio=1.0),
    ]
    frame = layer_ratios.select(make_tables(trials, layers))
    assert list(frame["layer"]) == ["features.0", "features.3"]
    assert list(frame["pruning_ratio"]) == pytest.approx([0.4, 0.1])


def test_layer_ratios_keep_the_studys_order_of_methods_and_orders() -> None:
    frame = layer_ratios.select(make_tables(grid(orders=("low_to_high", "by_sensitivity"), methods=("zeta", "alpha"))))
    assert list(dict.fromkeys(frame["method"])) == ["zeta", "alpha"]
    assert list(dict.fromkeys(frame["order"])) == ["low_to_high", "by_sensitivity"]


def test_orders_use_the_test_score_where_all_have_it() -> None:
    trials = [
        trial_row("l0", pruning_ratio=0.4, test_score_drop=1.0),
        trial_row("l1", pruning_ratio=0.6, test_score_drop=2.0, seed=1),
        trial_row("s0", pruning_ratio=0.3, test_score_drop=0.0, order="by_sensitivity"),
    ]
    frame = orders.select(make_tables(trials)).set_index("order")
    low = frame.loc["low_to_high"]
    assert (low["pruning_ratio"], low["lowest"], low["highest"], low["num_trials"]) == (pytest.approx(0.5), 0.4, 0.6, 2)
    assert low["score_drop"] == pytest.approx(1.5)
    assert set(frame["split"]) == {"test"}
    trials[0]["test_score_drop"] = None
    untested = orders.select(make_tables(trials)).set_index("order")
    assert set(untested["split"]) == {"validation"}
    assert untested.loc["low_to_high", "score_drop"] == 1.0


def test_bars_of_the_orders_tell_the_points_lost() -> None:
    trials = [trial_row("l", test_score_drop=1.25), trial_row("s", test_score_drop=-0.5, order="by_sensitivity")]
    assert sorted(texts(orders.draw(orders.select(make_tables(trials))))) == ["+1.2\n1.23k", "−0.5\n1.23k"]


def test_matched_bars_tell_points_and_ratio() -> None:
    partner = trial_row("p", pruning_ratio=0.5, val_score_drop=1.0, test_score_drop=None)
    follower = partner | {"trial_id": "f", "method": "random", "drop_bound": None, "matched_trial_id": "p"}
    alone = trial_row("alone", method="magnitude", test_score_drop=None)
    tables = make_tables([partner, alone, follower | {"val_score_drop": 9.0}])
    frame = matched_end.select(tables)
    assert list(frame["method"]) == ["agent", "random"]
    assert list(frame["split"]) == ["validation", "validation"]
    assert list(frame["setting"]) == ["drop bound 2"] * 2
    assert texts(matched_end.draw(frame)) == ["+1.0\n50%", "+9.0\n50%"]


def test_matched_means_are_over_seeds() -> None:
    rows = grid(bounds=(4.0,), orders=("low_to_high",), methods=("agent",), seeds=(0, 1))
    rows[2]["val_score_drop"], rows[3]["val_score_drop"] = 4.0, 8.0
    frame = matched_end.select(make_tables(rows)).set_index(["split", "method"]).loc[("validation", "random")]
    assert (frame["score_drop"], frame["lowest"], frame["highest"]) == (6.0, 4.0, 8.0)
    assert frame["pruning_ratio"] == pytest.approx((0.5 + 0.51) / 2)


def test_trials_matched_to_different_methods_stay_apart() -> None:
    rows = grid(bounds=(4.0,), orders=("low_to_high",), methods=("agent", "magnitude"), seeds=(0,), matched=("random",))
    follower = {"method": "random", "drop_bound": None, "matched_trial_id": rows[1]["trial_id"]}
    rows.append(rows[1] | follower | {"trial_id": "other", "val_score_drop": 0.0})
    frame = matched_end.select(make_tables(rows))
    frame = frame[(frame["split"] == "validation") & (frame["method"] == "random")]
    drops = dict(zip(frame["setting"].str.rsplit("\n", n=1).str[-1], frame["score_drop"], strict=True))
    assert drops == {"like agent": 6.0, "like magnitude": 0.0}


def test_update_means_hold_an_agent_that_stopped_early() -> None:
    trials = [trial_row("long"), trial_row("short", baseline_key="b1")]
    updates = [update_row("long", "features.3", update, reward_mean=float(update)) for update in range(3)]
    updates += [update_row("short", "features.3", 0, reward_mean=4.0, pruning_ratio_mean=0.7)]
    frame = rewards.select(make_tables(trials, updates=updates))
    assert list(frame["update"]) == [0, 1, 2]
    assert list(frame["value"]) == [2.0, 2.5, 3.0]
    assert set(frame["layer_index"]) == {1}
    shares = sampled_ratios.select(make_tables(trials, updates=updates))
    assert list(shares["value"]) == pytest.approx([50.0, 50.0, 50.0])


def test_updates_of_failed_trials_are_left_out() -> None:
    trials = [trial_row("good"), unfinished_row("bad", "failed", "no")]
    updates = [update_row(of, "features.0", 0, reward_mean=value) for of, value in (("good", 1.0), ("bad", 9.0))]
    assert list(rewards.select(make_tables(trials, updates=updates))["value"]) == [1.0]


def test_outliers_get_a_scale_that_says_so() -> None:
    near, far = ([trial_row("a"), trial_row("b", val_score_drop=drop)] for drop in (5.0, 30.0))
    axes = trade_off.draw(trade_off.select(make_tables(near))).axes[0]
    assert (axes.get_yscale(), axes.get_ylabel()) == ("linear", "top1_accuracy drop (points)")
    axes = trade_off.draw(trade_off.select(make_tables(far))).axes[0]
    assert (axes.get_yscale(), axes.get_ylabel()) == ("symlog", "top1_accuracy drop (points, logarithmic above 2)")


def test_the_trade_off_tells_methods_bounds_and_matches_apart() -> None:
    figure = trade_off.draw(trade_off.select(make_tables(grid())))
    (legend,) = figure.legends
    words = {text.get_text() for text in legend.get_texts()}
    assert words >= {
        "agent, 1.23k candidates",
        "magnitude, 1.23k candidates",
        "random",
        "1",
        "4",
        "matched to a partner",
        "Pareto front",
    }
    assert {"bound 1", "bound 4"} == {text.strip() for text in texts(figure)}


def test_settings_that_go_with_the_network_are_not_told_beside_it() -> None:
    def trial(model: str, path: str) -> Row:
        return trial_row(f"{model}-{path}", model=model, baseline_settings=json.dumps({"path": path}))

    both = [trial("vgg16", "v"), trial("resnet18", "r")]
    assert list(completed_trials(make_tables(both))["context"]) == ["vgg16", "resnet18"]
    three = completed_trials(make_tables([*both, trial("resnet18", "other")]))
    assert list(three["context"]) == ["vgg16, path v", "resnet18, path r", "resnet18, path other"]


def test_drops_are_told_in_the_scores_name_and_unit() -> None:
    tables = make_tables(grid(score_name="psnr", score_unit="dB"))
    for module in (trade_off, matched_end):
        assert module.draw(module.select(tables)).axes[0].get_ylabel() == "psnr drop (dB)"
    for module in (layer_ratios, rewards):
        (legend,) = module.draw(module.select(tables)).legends
        words = [legend.get_title().get_text(), *(text.get_text() for text in legend.get_texts())]
        assert "drop bound (dB)" in words
    of_two = make_tables([trial_row("a"), trial_row("b", score_name="psnr", score_unit="dB")])
    assert trade_off.draw(trade_off.select(of_two)).axes[0].get_ylabel() == "score drop (points or dB)"


def test_many_layers_with_long_names_get_wide_panels() -> None:
    def drawn(number: int) -> Figure:
        trials = [trial_row("a"), trial_row("m", method="magnitude")]
        layers = [
            layer_row(of, 0, layer=f"backbone.denseblock{index}.denselayer.conv2", layer_index=index)
            for of in ("a", "m")
            for index in range(number)
        ]
        return layer_ratios.draw(layer_ratios.select(make_tables(trials, layers)))

    few, many, most = drawn(24), drawn(55), drawn(120)
    assert [len(figure.axes) for figure in (few, many, most)] == [2, 2, 2]
    assert few.axes[0].get_position().y0 == few.axes[1].get_position().y0  # side by side
    assert many.axes[0].get_position().y0 > many.axes[1].get_position().y0
    assert few.get_figwidth() < many.get_figwidth() < most.get_figwidth() <= 16
    assert many.axes[1].get_xticklabels()[54].get_text() == "55: …eblock54.denselayer.conv2"
    assert not any(":" in label.get_text() for label in most.axes[1].get_xticklabels())


def test_small_words() -> None:
    assert [drop_text(drop) for drop in (1.26, -0.34, 0.04, -0.04, 12.0)] == ["+1.3", "−0.3", "0.0", "0.0", "+12.0"]
    assert in_bound_order(["none", "10", "0.5", "2", "2"]) == ["0.5", "2", "10", "none"]
