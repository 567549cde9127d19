"""Studies in every state that a report can meet."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from raprune.results import Tables
from tests.analysis.make_tables import (
    factorised_row,
    grid,
    layer_row,
    layers_of_singles,
    make_tables,
    picture_row,
    residual_layers,
    seen_filters,
    single_layers,
    speed_rows,
    timeline_rows,
    trial_row,
    unfinished_row,
)


def everything() -> Tables:
    """A study that has data for every figure."""
    rows, singles = grid(seeds=(0,)), single_layers()
    layers = [layer_row(row["trial_id"], index, **seen_filters(drawn=index == 0)) for row in rows for index in range(3)]
    layers += layers_of_singles(singles)
    layers += residual_layers("resnet", 0.1, 0.5, 0.2, 0.3, 0.7, 0.4)
    pictures = [picture_row(rows[0]["trial_id"], kind, place) for kind in KINDS for place in range(2)]
    speed = [row for of in rows[:6] for size in (1, 64) for row in speed_rows(of["trial_id"], batch_size=size)]
    others = [trial_row("resnet", model="resnet18"), factorised_row("factorised")]
    timeline = [*timeline_rows("evaluator-10", 0.5, 0.0, 1.0), *timeline_rows("evaluator-2", 0.0, 0.25)]
    return make_tables([*rows, *singles, *others], layers, None, pictures, speed, timeline=timeline)


def mixed() -> Tables:
    """Two networks in dB, one of them as an older version wrote it; no test split, a failed trial, a lost partner."""
    untested = dict.fromkeys(("baseline_test_score", "test_score", "test_score_drop"))
    rows = grid(bounds=(1.0,), seeds=(0,), score_name="psnr", score_unit="dB", **untested)
    lost = trial_row("m", method="random", drop_bound=None, matched_trial_id="not-here", **untested)
    old = trial_row("r", model="resnet18", score_name="psnr", score_unit=None, **untested)
    return make_tables([*rows, lost, old, unfinished_row("bad", "failed", "ValueError: no", seed=1)])


KINDS = ("improved", "stayed", "worse")
CASES: dict[str, Tables] = {
    "normal": make_tables(grid()),
    "empty": make_tables([], trial_ids=["to-come"]),
    "one trial": make_tables([trial_row("only")]),
    "failed only": make_tables(
        [unfinished_row("bad", "failed", "ValueError: no\nhost h"), unfinished_row("cut", "stopped", None)]
    ),
    "some failed": make_tables([*grid(seeds=(0,)), unfinished_row("bad", "failed", "ValueError: no", seed=1)]),
    "one order": make_tables(grid(orders=("low_to_high",), seeds=(0,))),
    "no test split": make_tables(grid(seeds=(0,), baseline_test_score=None, test_score=None, test_score_drop=None)),
    "no bound": make_tables(grid(bounds=(None,), seeds=(0,))),
    "odd names": make_tables(
        grid(bounds=(1.0,), methods=("_mine", "a$b$<&>"), matched=("my-very-long-method-name_v2",), seeds=(0,))
    ),
    "partner gone": make_tables([trial_row("m", method="random", drop_bound=None, matched_trial_id="not-here")]),
    "layers one by one": make_tables(single_layers(), layers_of_singles(single_layers())),
    "two networks": make_tables([*grid(seeds=(0,)), trial_row("r", model="resnet18")]),
    "decibels": make_tables(grid(seeds=(0,), score_name="psnr", score_unit="dB")),
    "of version 1": make_tables(grid(seeds=(0,), score_unit=None)),
    "mixed": mixed(),
    "everything": everything(),
}
"""Studies in every state a report can meet."""
ALIKE = {"decibels", "no test split", "partner gone", "some failed", "one order", "of version 1", "two networks"}
"""One kind of state each: "mixed" has them all at once but for "one order", which "normal" is with less in it."""


def every_case(slow: Collection[str] = ALIKE) -> pytest.MarkDecorator:
    """Of a test that takes a ``case``: all, those in ``slow`` where all tests run."""
    params = [pytest.param(case, marks=pytest.mark.slow) if case in slow else case for case in CASES]
    return pytest.mark.parametrize("case", params)
