"""A report tells what the joint passes left, not only what the layers' own decisions did."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.ends import layers_at_end
from analysis.figures import first_layer, layer_ratios, pruned_filters, redundancy, roles, single_layer
from analysis.studies import report_of
from analysis.trial_views import trial_views
from raprune.api.report import Report
from raprune.results import Tables
from tests.analysis.make_tables import LAYERS, joint_row, layer_row, make_tables, seen_filters, trial_row

PARTS = ([True] * 5 + [False] * 5, [True] * 6 + [False] * 4, [True] + [False] * 9)
"""The masks of three layers after the last of two passes; each layer's own decision kept six of ten."""


def passes(name: str, parts: Any = PARTS, sizes: list[int] | None = None) -> pd.DataFrame:
    mask = [flag for part in parts for flag in part]
    changes = {"num_filters": len(mask), "layer_sizes": sizes, "params": 400, "macs": 3000}
    last = {"keep_mask": mask, "num_kept": sum(mask)}
    return pd.DataFrame([joint_row(name, 0, **changes | {"keep_mask": [True] * len(mask)}),
                         joint_row(name, 1, **changes | last)])  # fmt: skip


def tables_of(joint: pd.DataFrame, indices: tuple[int, ...] = (0, 1, 2), **changes: Any) -> Tables:
    layers = [layer_row(name, index, **seen_filters(drawn=index == 0)) for name in "ab" for index in indices]
    made = make_tables([trial_row("a", **changes), trial_row("b", **changes, drop_bound=8.0)], layers)
    return replace(made, joint=joint)


@pytest.mark.parametrize("sizes", [None, [10, 10, 10]])  # without them in results before version 12
def test_the_layers_at_the_end_of_a_trial(sizes: list[int] | None) -> None:
    tables = tables_of(passes("a", sizes=sizes))
    found = layers_at_end(tables)
    assert found["num_kept"].tolist() == [5, 6, 1, 6, 6, 6]
    assert found["pruning_ratio"].tolist() == pytest.approx([0.5, 0.4, 0.9, 0.4, 0.4, 0.4])
    assert [list(mask) for mask in found["keep_mask"][:3]] == list(PARTS)
    assert tables.layers["num_kept"].tolist() == [6] * 6


def test_the_layers_between_undecided_ones() -> None:
    """Of five layers the second and the fourth are decided."""
    parts = ([True] * 3, PARTS[0], [True] * 4, PARTS[2], [True] * 2)
    for sizes, kept in (([3, 10, 4, 10, 2], [5, 1]), (None, [6, 6])):
        joint = passes("a", parts, sizes)
        layers = [layer_row("a", index, layer_index=place) for index, place in ((1, 1), (2, 3))]
        tables = replace(make_tables([trial_row("a")], layers), joint=joint)
        assert layers_at_end(tables)["num_kept"].tolist() == kept


def test_a_study_without_passes_is_as_it_is() -> None:
    tables = make_tables([trial_row("a")])
    assert layers_at_end(tables) is tables.layers


def test_the_figures_show_the_end() -> None:
    tables = tables_of(passes("a"))
    for figure in (layer_ratios, redundancy):
        assert sorted(figure.select(tables)["pruning_ratio"]) == pytest.approx([0.4] * 4 + [0.5, 0.9])
    assert first_layer.select(tables)["num_pruned"].tolist() == [5, 4]
    fates = pruned_filters.select(tables)
    pruned = fates[(fates["fate"] == "pruned") & (fates["trial_id"] == "a")]
    assert pruned.groupby("layer_index").size().tolist() == [5, 4, 9]
    by_role = replace(tables, layers=tables.layers.assign(role="conv1"))
    assert sorted(roles.select(by_role)["pruning_ratio"]) == pytest.approx([0.4, 0.6])
    alone = [trial_row(name, layers=f'["{layer}"]') for name, layer in zip("ab", LAYERS, strict=False)]
    one = replace(make_tables(alone, [layer_row("a", 0), layer_row("b", 1)]), joint=passes("a", PARTS[:1]))
    assert single_layer.select(one)["pruning_ratio"].tolist() == pytest.approx([0.5, 0.4])


def test_a_trial_lists_its_passes_after_its_layers() -> None:
    view = trial_views(report_of(tables_of(passes("a"))))["a"]
    names = [row[0] for row in view["layers"]]
    assert names == [*LAYERS, "joint pass 1: all layers", "joint pass 2: all layers"]
    _, number, kept, _, finetuned, _, mask = view["layers"][-1]
    assert (number, kept, finetuned) == (30, 12, 97.5)
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(mask), np.uint8))[:30]
    assert bits.tolist() == [int(flag) for part in PARTS for flag in part]


def test_a_program_sees_the_passes_after_the_layers() -> None:
    tables = tables_of(passes("a"))
    layers, row = tables.layers[tables.layers["trial_id"] == "a"], tables.trials.iloc[0].to_dict()
    report = Report(row, layers, None, tables.joint)
    shown = report.table()
    assert shown["layer"].tolist() == [*LAYERS, "joint pass 1: all layers", "joint pass 2: all layers"]
    assert shown[["filters", "kept", "pruned"]].iloc[-1].tolist() == [30, 12, "60.0%"]
    assert "width:40%" in report._repr_html_()
    assert len(Report(row, layers).table()) == 3
