"""Which filters were pruned, where the redundancy is and where the time went, against values worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.figures import first_layer, pruned_filters, redundancy, time_spent
from analysis.sheet import STRUCK, levels_of, sheet
from tests.analysis.cases import CASES
from tests.analysis.make_tables import (
    candidate_row,
    grid,
    joint_row,
    layer_row,
    layers_of_singles,
    make_tables,
    seen_filters,
    single_layers,
    trial_row,
)


def test_pruned_filters_are_counted_among_the_smallest() -> None:
    probs = [0.1 * number for number in range(10)]
    layer = layer_row("t", 0, **seen_filters(keep_probs=probs), keep_mask=[False, True] * 2 + [False] * 2 + [True] * 4)
    frame = pruned_filters.select(make_tables([trial_row("t")], [layer]))
    assert frame["norm"].tolist() == [*range(1, 11)]
    assert frame["value"].tolist() == pytest.approx(probs)
    assert set(frame["measure"]) == {"keep probability"}
    assert frame["fate"].tolist() == ["pruned", "kept"] * 2 + ["pruned"] * 2 + ["kept"] * 4
    assert pruned_filters.among_smallest(frame) == (2, 4, 1.6)  # filters 0 and 2 of the smallest 0, 1, 2, 3
    (plot,) = pruned_filters.charts(frame)
    assert frame["larger_than"].tolist() == pytest.approx([number / 9 for number in range(10)])
    assert plot.title == "1: features.0\n2 of 4 pruned are among the 4 smallest (1.6 by chance)"
    assert [(s.name, len(s.x), s.marker) for s in plot.series] == [("kept", 6, "o"), ("pruned", 4, "X")]


def test_without_probabilities_the_rank_stands_in() -> None:
    frame = pruned_filters.select(make_tables([trial_row("t")], [layer_row("t", 0, **seen_filters())]))
    assert frame["value"].tolist() == pytest.approx([1 - place / 9 for place in range(10)])
    assert set(frame["measure"]) == {"rank (1: most important)"}


def test_the_agents_trials_of_the_outer_bounds_are_shown_and_six_layers_of_many() -> None:
    rows = grid(bounds=(1.0, 2.0, 4.0), orders=("low_to_high",), methods=("taylor", "agent"), seeds=(0,))
    layers = [
        layer_row(row["trial_id"], 0, layer=f"conv{index}", layer_index=index, **seen_filters())
        for row in rows
        for index in range(15)
    ]
    frame = pruned_filters.select(make_tables(rows, layers))
    assert list(dict.fromkeys(frame["trial_id"])) == ["1.0-low_to_high-agent-0", "4.0-low_to_high-agent-0"]
    assert list(dict.fromkeys(frame["layer_index"])) == [0, 3, 6, 8, 11, 14]


def test_layers_left_whole_and_older_results_show_no_filters() -> None:
    whole = layer_row("t", 0, **seen_filters(), num_kept=10, keep_mask=[True] * 10)
    assert pruned_filters.select(make_tables([trial_row("t")], [whole])).empty
    assert pruned_filters.select(CASES["normal"]).empty
    assert first_layer.select(CASES["normal"]).empty


def test_the_sheet_shows_every_filter_on_one_scale_and_strikes_out_the_pruned() -> None:
    weights = np.array([[[[1.0]]], [[[-0.5]]], [[[0.0]]]])
    image = levels_of(sheet(weights, [True, True, False]))
    assert image.shape == (36, 3 * 40 - 4, 4)
    assert [image[18, x].tolist() for x in (18, 18 + 40)] == [[255] * 4, [64, 64, 64, 255]]
    assert image[18, [38, 78], 3].tolist() == [0, 0]  # beside the filters
    assert image[4, 98].tolist() == [128, 128, 128, 255]
    crossed = (image[:, :, :3] == STRUCK).all(axis=2)
    assert crossed[:, 80:].sum() > 60
    assert not crossed[:, :80].any()


def test_colours_of_filters_are_those_of_their_channels() -> None:
    image = levels_of(sheet(np.array([1.0, 0.0, -1.0]).reshape(1, 3, 1, 1), [True]))
    assert image[0, 0].tolist() == [255, 128, 0, 255]
    assert levels_of(sheet(np.zeros((1, 1, 2, 2)), [True]))[0, 0].tolist() == [128] * 3 + [255]
    assert levels_of(sheet(np.zeros((17, 1, 1, 1)), [True] * 17)).shape[0] == 76


def test_one_seed_of_each_setting_has_its_first_layer_drawn() -> None:
    rows = [trial_row("a"), trial_row("b", seed=1, val_score=97.0), trial_row("m", method="magnitude")]
    layers = [layer_row(row["trial_id"], i, **seen_filters(drawn=i == 0)) for row in rows for i in range(2)]
    frame = first_layer.select(make_tables(rows, layers))
    assert frame["trial_id"].tolist() == ["a", "m"]
    assert frame["num_pruned"].tolist() == [4, 4]
    (shown,) = first_layer.charts(frame)
    assert shown.rows[0][0] == "agent, bound 2, 4 of 10 pruned"
    assert shown.columns == ["features.0"]


def test_a_row_of_the_heat_map_is_a_setting_tightest_bound_first() -> None:
    trials = [
        trial_row("loose", drop_bound=4.0),
        trial_row("tight", drop_bound=1.0),
        trial_row("again", drop_bound=1.0, seed=1, val_score=97.0),
        trial_row("other", drop_bound=1.0, method="random"),
        trial_row("matched", drop_bound=None, matched_trial_id="loose", method="magnitude"),
    ]
    ratios = {"loose": (0.5, 0.9), "tight": (0.1, 0.4), "again": (0.3, 0.6), "other": (0.0, 0.0), "matched": (1.0, 1.0)}
    layers = [layer_row(of, i, pruning_ratio=ratio) for of, pair in ratios.items() for i, ratio in enumerate(pair)]
    (heat,) = redundancy.charts(redundancy.select(make_tables(trials, layers)))
    assert heat.rows == ["bound 1, agent", "bound 1, random", "bound 4, agent"]
    assert heat.columns == ["1: features.0", "2: features.3"]
    assert heat.values == [[20, 50], [0, 0], [50, 90]]
    assert heat.trials == ["tight", "other", "loose"]


def test_layers_decided_alone_share_one_row_and_networks_do_not_share_a_map() -> None:
    singles = single_layers(methods=("agent",))
    (heat,) = redundancy.charts(redundancy.select(make_tables(singles, layers_of_singles(singles))))
    assert heat.values == [[40, 40, 40]]
    frame = redundancy.select(CASES["two networks"])
    assert [heat.title for heat in redundancy.charts(frame)] == ["vgg16", "resnet18"]
    part = layer_row("t", 1)
    one = redundancy.charts(redundancy.select(make_tables([trial_row("t"), trial_row("u", seed=1)], [part])))
    assert one[0].columns == ["2: features.3"]


def test_a_layer_that_was_not_decided_is_unknown() -> None:
    trials = [trial_row("a"), trial_row("b", method="random")]
    layers = [layer_row("a", 0), layer_row("a", 1), layer_row("b", 1)]
    (heat,) = redundancy.charts(redundancy.select(make_tables(trials, layers)))
    assert heat.values == [[40, 40], [None, 40]]


def test_seconds_are_those_that_were_recorded() -> None:
    trials = [trial_row("t", wall_time_s=20.0), trial_row("untimed", method="random", wall_time_s=None)]
    layers = [layer_row("t", index, wall_time_s=4.0) for index in range(3)]
    joint = pd.DataFrame([joint_row("t", 0, wall_time_s=2.5)])
    candidates = pd.DataFrame([candidate_row("t", "features.0", n, score_s=0.5) for n in range(6)])
    tables = replace(make_tables(trials, layers), joint=joint, candidates=candidates)
    frame = time_spent.select(tables)
    assert set(frame["part"]) == {"layers", "joint passes", "the rest", "scoring candidates"}
    trials[0] |= {"finetune_s": 5.0, "guard_s": 1.0}
    layers = [row | {"finetune_s": 1.5, "guard_s": 0.25} for row in layers]
    joint = joint.assign(finetune_s=0.5, guard_s=0.0)
    tables = replace(make_tables(trials, layers), joint=joint, candidates=candidates)
    frame = time_spent.select(tables)
    assert frame.set_index(["clock", "part"])["seconds"].to_dict() == {
        (time_spent.TRIAL, "layers"): 6.75,  # 12 less its fine-tunes and looks
        (time_spent.TRIAL, "joint passes"): 2.0,
        (time_spent.TRIAL, "fine-tunes"): 5.0,
        (time_spent.TRIAL, "guard"): 1.0,
        (time_spent.TRIAL, "the rest"): 5.25,
        (time_spent.EVALUATORS, "scoring candidates"): 3.0,
    }
    own, evaluators = time_spent.charts(frame)
    assert [(bar.name, bar.value) for bar in own.clusters[0][1]] == [
        ("layers", 6.75), ("joint passes", 2.0), ("fine-tunes", 5.0), ("guard", 1.0), ("the rest", 5.25),
    ]  # fmt: skip
    assert [bar.value for bar in evaluators.clusters[0][1]] == [3]
