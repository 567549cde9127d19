"""The contract of every figure, one suite over all files of ``analysis/figures``."""

from __future__ import annotations

import warnings
from functools import cache
from types import ModuleType

import matplotlib as mpl
import pandas as pd
import pytest
from matplotlib.figure import Figure

from analysis.harmless import harmless
from analysis.plots import figure_modules
from analysis.style import RC
from raprune.results import Tables
from tests.analysis.cases import ALIKE, CASES, every_case
from tests.analysis.fitting import fitting_charts


def name_of(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


@cache
def shown(case: str) -> tuple[Tables, dict[str, pd.DataFrame]]:
    """The tables of a case as a report gets them, and copies of them."""
    tables = harmless(CASES[case])
    return tables, {name: getattr(tables, name).copy(deep=True) for name in TABLES}


@cache
def selected(module: ModuleType, case: str) -> pd.DataFrame:
    """What a figure shows of a case; selected, which changes no table, once for all tests, which leave it as it is."""
    tables, before = shown(case)
    frame: pd.DataFrame = module.select(tables)
    for name, table in before.items():
        assert getattr(tables, name).equals(table), name
    return frame


MODULES = figure_modules()
TABLES = ("trials", "layers", "updates", "candidates", "low_rank", "pictures", "speed", "timeline")
COLUMNS = {
    "trade_off": {"trial_id", "split", "method", "bound", "matched", "pruning_ratio", "score_drop", "pareto", "unit"},
    "layer_ratios": {"order", "method", "bound", "layer_index", "layer", "pruning_ratio"},
    "orders": {"bound", "method", "order", "pruning_ratio", "score_drop", "lowest", "highest"},
    "rewards": {"layer_index", "layer", "bound", "series", "update", "value"},
    "sampled_ratios": {"layer_index", "layer", "bound", "series", "update", "value"},
    "matched": {"setting", "like", "method", "layer_index", "layer", "gap", "lowest", "highest", "num_baselines"},
    "matched_end": {"split", "setting", "method", "pruning_ratio", "score_drop", "lowest", "highest"},
    "roles": {"network", "role", "num_layers", "bound", "pruning_ratio", "lowest", "highest"},
    "single_layer": {"context", "bound", "layer", "method", "score_drop", "pruning_ratio", "lowest", "highest"},
    "speed": {"machine", "trial", "backend", "batch_size", "measured", "theoretical", "lowest", "highest"},
    "low_rank": {"trial", "part", "stage", "share_left", "lowest", "highest"},
    "macs_trade_off": {"trial_id", "split", "method", "removed", "score_drop", "pareto", "published"},
    "params_trade_off": {"trial_id", "split", "method", "removed", "score_drop", "pareto", "published"},
    "redundancy": {"network", "setting", "layer_index", "layer", "pruning_ratio", "trial_id"},
    "first_layer": {"trial_id", "trial", "layer", "num_filters", "num_pruned", "picture"},
    "pruned_filters": {"trial_id", "trial", "layer", "filter", "norm", "measure", "value", "fate"},
    "timeline": {"study", "row", "evaluator", "column", "since_s", "busy_share"},
    "time_spent": {"trial", "clock", "part", "seconds", "lowest", "highest"},
    "pictures": {"trial_id", "bound", "kind", "place", "image_index", "change", "image", "label", "baseline", "pruned"},
}
ONLY_SOME = {"roles", "single_layer", "pictures", "speed", "low_rank", "first_layer", "pruned_filters", "timeline"}
"""Figures of studies over residual networks, single layers and labels a pixel, of trials that were benched, have a
low-rank step, or recorded their filters, and of candidates that say when they were scored."""
NOTHING_TO_SHOW = {
    "empty": {name_of(module) for module in MODULES},
    "failed only": {name_of(module) for module in MODULES},
    "normal": ONLY_SOME,
    "one trial": {"orders", "matched", "matched_end"} | ONLY_SOME,
    "one order": {"orders"} | ONLY_SOME,
    "layers one by one": {"trade_off", "macs_trade_off", "params_trade_off", "orders", "matched_end"}
    | ONLY_SOME - {"single_layer"},
    "everything": set(),
}


DRAWN_ALIKE = {*ALIKE, "mixed", "no bound", "layers one by one"}
"""What is drawn as "normal" is, with less in it, or as a part of "everything"."""
COLOURBAR = "<colorbar>"
"""Matplotlib's name of the axes beside a heat map."""
every_module = pytest.mark.parametrize("module", MODULES, ids=name_of)


@cache
def drawn(module: ModuleType) -> Figure:
    """What a figure draws of "everything", once for the tests that look at it."""
    figure: Figure = module.draw(selected(module, "everything"))
    return figure


def test_every_known_figure_is_found() -> None:
    assert {name_of(module) for module in MODULES} >= set(COLUMNS)


def test_places_are_distinct() -> None:
    places = [module.PLACE for module in MODULES]
    assert places == sorted(set(places))


@every_module
def test_has_its_parts(module: ModuleType) -> None:
    assert isinstance(module.PLACE, int)
    assert module.TITLE
    assert not module.TITLE.endswith(".")
    assert module.CAPTION.endswith(".")
    assert module.__doc__
    assert callable(module.select)
    assert callable(module.charts)
    assert callable(module.draw)


@every_module
@every_case()
def test_select_gives_its_columns_and_changes_nothing(module: ModuleType, case: str) -> None:
    frame = selected(module, case)
    assert isinstance(frame, pd.DataFrame)
    assert set(frame.columns) == set(selected(module, "normal").columns)
    assert set(frame.columns) >= COLUMNS.get(name_of(module), set())
    if case in NOTHING_TO_SHOW:
        assert frame.empty == (name_of(module) in NOTHING_TO_SHOW[case])


@every_module
@every_case()
def test_charts_are_plain_data_that_fit_together(module: ModuleType, case: str) -> None:
    frame = selected(module, case)
    assert frame.empty or fitting_charts(module, frame, {*shown(case)[0].trials["trial_id"], ""})


@every_module
@every_case(DRAWN_ALIKE)
def test_draws_without_a_complaint(module: ModuleType, case: str) -> None:
    frame = selected(module, case)
    if frame.empty:
        assert case != "everything"
        return
    before = frame.copy(deep=True)
    with warnings.catch_warnings(), mpl.rc_context(RC):
        warnings.simplefilter("error")
        figure = drawn(module) if case == "everything" else module.draw(frame)
        figure.draw_without_rendering()
    assert isinstance(figure, Figure)
    assert all(axes.has_data() for axes in figure.axes if axes.get_visible())
    pd.testing.assert_frame_equal(frame, before)


@every_module
def test_axes_say_what_they_show(module: ModuleType) -> None:
    figure = drawn(module)
    shown = [axes for axes in figure.axes if axes.get_visible() and axes.get_label() != COLOURBAR]
    assert any(axes.get_ylabel() for axes in shown)
    assert all(axes.get_title() or axes.get_images() for axes in shown)
    assert figure.legends or any(axes.get_label() == COLOURBAR and axes.get_ylabel() for axes in figure.axes)


def test_no_figure_opens_a_window() -> None:
    import sys

    for module in MODULES:
        assert "pyplot" not in vars(module)
    assert "matplotlib.pyplot" not in sys.modules or mpl.get_backend().lower() == "agg"
