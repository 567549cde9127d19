"""Layer orders side by side: what each prunes under the same bound."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from raprune.results import Tables, short_count

from ..bars import bar_legend, grouped_bars
from ..frames import SPLITS, completed_trials, over_seeds, whole_networks, with_candidates
from ..labels import bound_text, drop_text, in_bound_order, in_order, joined, wrapped
from ..style import new_figure, order_colours

PLACE = 4
TITLE = "How much the order of the layers matters"
CAPTION = (
    "Share of filters pruned within the drop bound, by the order in which the layers were decided. Each bar shows the "
    "test score lost, in points of its unit (the validation score if there is no test split; a minus is a gain) and, "
    "below it, the candidates asked for, the order's included. "
    "Mean over seeds, whiskers from the lowest to the highest."
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


def draw(frame: pd.DataFrame) -> Figure:
    """A panel for each bound, a cluster for each method."""
    contexts, bounds = in_order(frame["context"]), in_bound_order(frame["bound"])
    wanted = [(c, b) for c in contexts for b in bounds if ((frame["context"] == c) & (frame["bound"] == b)).any()]
    colours = order_colours(in_order(frame["order"]))
    percent = frame[["pruning_ratio", "lowest", "highest"]].mul(100)
    frame = frame.assign(
        value=percent["pruning_ratio"],
        lowest=percent["lowest"],
        highest=percent["highest"],
        text=frame["score_drop"].map(drop_text) + "\n" + frame["num_candidates"].map(short_count),
    )
    columns = min(PANELS_A_ROW, len(wanted))
    rows = -(-len(wanted) // columns)
    figure = new_figure(max(5.0, 1 + 4.4 * columns), 0.7 + 2.9 * rows)
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes in panels.flat[len(wanted) :]:
        axes.set_visible(False)
    for (context, bound), axes in zip(wanted, panels.flat, strict=False):
        part = frame[(frame["context"] == context) & (frame["bound"] == bound)]
        grouped_bars(axes, part, "method", "order", colours)
        axes.set_title(wrapped(joined(bound_text(bound), context), 4.4))
    for row in panels:
        row[0].set_ylabel("filters pruned (%)")
    bar_legend(figure, colours)
    return figure
