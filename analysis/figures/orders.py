"""Layer orders side by side: what each prunes under the same bound."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from raprune.results import Tables, short_count

from ..bars import bar_legend, grouped_bars
from ..charts import Bars, Chart
from ..frames import SPLITS, completed_trials, over_seeds, whole_networks, with_candidates
from ..labels import bound_text, drop_text, in_bound_order, in_order, joined, wrapped
from ..marks import clusters
from ..style import new_figure, order_colours

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLACE = 12
TITLE = "How much the order of the layers matters"
CAPTION = (
    "Share of filters pruned within the drop bound, by the order in which the layers were decided. Beside it: the "
    "test score lost (validation without a test split) and the candidates asked for, the order's included."
)
PANELS_A_ROW = 3


def select(tables: Tables) -> pd.DataFrame:
    """Context, bound, method, order, pruning_ratio, score_drop, split; empty where all trials share one order."""
    trials = whole_networks(completed_trials(tables))
    trials = trials[~trials["matched"]]
    has_test = bool(len(trials)) and bool(trials["test_score_drop"].notna().all())
    column = "test_score_drop" if has_test else "val_score_drop"
    contexts = [joined(c, s) for c, s in zip(trials["context"], trials["scope"], strict=True)]
    trials = with_candidates(trials.assign(context=contexts, score_drop=trials[column], split=SPLITS[column]))
    keys = ["context", "bound", "method", "order", "split"]
    frame = over_seeds(trials, keys, "pruning_ratio", "score_drop", "num_candidates")
    return frame if frame["order"].nunique() > 1 else frame.iloc[0:0]


def charts(frame: pd.DataFrame) -> list[Chart]:
    """Bars of the filters pruned, for each bound."""
    colours = order_colours(in_order(frame["order"]))
    drops = frame["score_drop"].map(drop_text) + " lost on " + frame["split"]
    asked = frame["num_candidates"].map(short_count) + " candidates"
    frame = _in_percent(frame).assign(note=drops + ", " + asked)
    return [
        Bars(
            joined(bound_text(bound), context),
            "% of the filters pruned",
            clusters(_panel(frame, context, bound), "method", "order", colours),
        )
        for context, bound in _panels(frame)
    ]


def _panels(frame: pd.DataFrame) -> list[tuple[str, str]]:
    contexts, bounds = in_order(frame["context"]), in_bound_order(frame["bound"])
    return [(c, b) for c in contexts for b in bounds if len(_panel(frame, c, b))]


def _panel(frame: pd.DataFrame, context: str, bound: str) -> pd.DataFrame:
    return frame[(frame["context"] == context) & (frame["bound"] == bound)]


def _in_percent(frame: pd.DataFrame) -> pd.DataFrame:
    percent = frame[["pruning_ratio", "lowest", "highest"]].mul(100)
    return frame.assign(value=percent["pruning_ratio"], lowest=percent["lowest"], highest=percent["highest"])


def draw(frame: pd.DataFrame) -> Figure:
    """A panel for each bound, a cluster for each method."""
    wanted = _panels(frame)
    colours = order_colours(in_order(frame["order"]))
    texts = frame["score_drop"].map(drop_text) + "\n" + frame["num_candidates"].map(short_count)
    frame = _in_percent(frame).assign(text=texts)
    columns = min(PANELS_A_ROW, len(wanted))
    rows = -(-len(wanted) // columns)
    figure = new_figure(max(5.0, 1 + 4.4 * columns), 0.7 + 2.9 * rows)
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes in panels.flat[len(wanted) :]:
        axes.set_visible(False)
    for (context, bound), axes in zip(wanted, panels.flat, strict=False):
        grouped_bars(axes, _panel(frame, context, bound), "method", "order", colours)
        axes.set_title(wrapped(joined(bound_text(bound), context), 4.4))
    for row in panels:
        row[0].set_ylabel("filters pruned (%)")
    bar_legend(figure, colours)
    return figure
