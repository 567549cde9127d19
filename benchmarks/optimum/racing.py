"""Races methods on tables of scores: how far each is from the true optimum, by candidates spent.

A racer is a method and a decision stage, each with its settings, as a trial runs them; its candidates are answered from
the table. *Regret* is the number of filters that its best mask within the bound keeps more than the optimum does. A
method that learns plans with its limit of candidates, so it is run anew for every limit; one that ranks without scoring
a mask is run once, and its regret is read off along the way. A run ends as soon as its regret is 0.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from benchmarks.optimum.tables import ScoreTable
from raprune.evaluators.base import EvaluatedMask
from raprune.network.masks import KeepMask
from raprune.network.state import State
from raprune.plugins.decisions.base import DecisionStage
from raprune.plugins.methods.base import CandidatesSpent, Criterion, LayerView, Method, RankedMethod
from raprune.plugins.scores.base import Scored, Tally
from raprune.registry import DECISIONS, METHODS, REWARDS
from raprune.study.seeds import seed_for
from raprune.trial.budget import TrialBudget, Unlimited
from raprune.trial.candidates import Candidates, Scale

LIMITS = (10, 20, 50, 100, 200, 400)
BOUNDS = (0.5, 1.0, 2.0, 4.0)


@dataclass(frozen=True)
class Racer:
    """A method and a decision stage."""

    name: str
    method: Method
    decision: DecisionStage
    draws: int
    """Runs with other random draws; 1 for a method that draws nothing."""


def racer(text: str, draws: int) -> Racer:
    """From ``METHOD`` or ``METHOD+DECISION``, each a name with settings as JSON: ``agent{"max_updates": 9}+trim``."""
    parts = re.fullmatch(r"(\w+)({.*?})?(?:\+(\w+)({.*})?)?", text)
    if parts is None:
        raise SystemExit(f'{text!r} is no racer: write METHOD+DECISION, such as agent{{"max_updates": 9}}+trim')
    name, settings, stage, of_stage = parts.groups()
    method: Method = METHODS.build(name, _settings(text, settings))
    decision: DecisionStage = DECISIONS.build(stage or method.decision, _settings(text, of_stage))
    return Racer(text, method, decision, 1 if isinstance(method, Criterion) else draws)


def _settings(text: str, settings: str | None) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(settings or "{}")
    except ValueError as error:
        raise SystemExit(f"{text!r}: its settings are not JSON: {error}") from None
    return found


class TableEvaluator:
    """Answers from a table, until a mask within the bound keeps as few filters as any can."""

    def __init__(self, table: ScoreTable, scale: Scale) -> None:
        self.table, self.scale = table, scale
        self.optimum = table.fewest_kept(scale.drop_bound)
        self.found = False

    def evaluate(
        self,
        state: State,
        layer: str,
        masks: Sequence[KeepMask],
        lowest: float | None,
        starts: Sequence[Tally | None] | None = None,
    ) -> list[EvaluatedMask]:
        del state, layer, starts
        if self.found:
            raise CandidatesSpent
        scores = [self._score(mask.tensor, lowest) for mask in masks]
        pairs = zip(masks, scores, strict=True)
        self.found = any(self.scale.feasible(score) and mask.num_kept == self.optimum for mask, score in pairs)
        tally = Tally([], [], self.table.origin.num_images, 0.0, True)
        return [EvaluatedMask(Scored(score, tally.num_images, 0.0, tally), "table") for score in scores]

    def _score(self, mask_N: Tensor, lowest: float | None) -> float | None:
        score = self.table.score(mask_N)
        return None if score is None or (lowest is not None and score < lowest) else score

    def run(self, task: Any, state: State) -> Any:
        raise TypeError(f"a table of scores cannot run {type(task).__name__}")


def view_of(table: ScoreTable) -> LayerView:
    """The layer as a method sees it; criteria were computed when the table was made."""

    def compute(criterion: Criterion) -> Tensor:
        name = next(plugin.name for plugin in METHODS if plugin.make is type(criterion))
        if name not in table.origin.importance:
            raise SystemExit(f"{table.name} has no importance by {name}; it has {', '.join(table.origin.importance)}")
        return torch.tensor(table.origin.importance[name], dtype=torch.float64)

    return LayerView(table.origin.layer, torch.tensor(table.origin.weights), compute)


def kept_along(racer: Racer, table: ScoreTable, drop_bound: float, draw: int, limit: int) -> list[int]:
    """Filters kept by the best mask within the bound after each candidate, from 0 candidates on."""
    scale = Scale(table.baseline_score, drop_bound, REWARDS.build("bounded_log", {}))
    budget = TrialBudget(Unlimited(), "", 0, limit)
    candidates = Candidates(
        TableEvaluator(table, scale), State.baseline(table.name), table.origin.layer, table.num_filters, scale,
        lambda _: None, budget,
    )  # fmt: skip
    rng = torch.Generator().manual_seed(seed_for(draw, racer.name, table.name))
    try:
        ranking = racer.method.rank(view_of(table), candidates, rng)
        racer.decision.decide(ranking, candidates)
    except CandidatesSpent:
        pass
    kept = [table.num_filters]
    for mask, evaluation in candidates.seen:
        kept.append(min(kept[-1], int(mask.sum())) if evaluation.feasible else kept[-1])
    return kept


def race(
    racers: Sequence[Racer], tables: Sequence[ScoreTable], bounds: Sequence[float], limits: Sequence[int] = LIMITS
) -> Iterator[pd.DataFrame]:
    """The regret of each racer in turn: a row for every table, bound, draw and limit.

    Tables that no mask but the whole is within a bound of are left out at that bound.
    """
    cases = [(table, bound) for table in tables for bound in bounds if table.fewest_kept(bound) < table.num_filters]
    for one in racers:
        rows = []
        for table, bound in cases:
            optimum = table.fewest_kept(bound)
            for draw in range(one.draws):
                for limit, kept in _by_limit(one, table, bound, draw, limits):
                    rows.append(
                        {"racer": one.name, "table": table.name, "drop_bound": bound, "draw": draw,
                         "num_candidates": limit, "num_filters": table.num_filters, "fewest_kept": optimum,
                         "regret": kept - optimum}
                    )  # fmt: skip
        yield pd.DataFrame(rows)


def _by_limit(
    racer: Racer, table: ScoreTable, drop_bound: float, draw: int, limits: Sequence[int]
) -> Iterator[tuple[int, int]]:
    if not isinstance(racer.method, RankedMethod):
        for limit in limits:
            yield limit, kept_along(racer, table, drop_bound, draw, limit)[-1]
        return
    kept = kept_along(racer, table, drop_bound, draw, max(limits))
    for limit in limits:
        yield limit, kept[min(limit, len(kept) - 1)]


def summary(regrets: pd.DataFrame) -> str:
    """Mean regret and its standard error over tables and bounds, a line for each racer."""
    by_case = regrets.groupby(["racer", "num_candidates", "table", "drop_bound"], sort=False)["regret"].mean()
    found = by_case.groupby(["racer", "num_candidates"], sort=False).agg(["mean", "sem"])
    limits = sorted(regrets["num_candidates"].unique())
    width = max(len(name) for name in regrets["racer"].unique())
    lines = [" " * width + "".join(f"{limit:>14d}" for limit in limits)]
    for name in regrets["racer"].unique():
        cells = [f"{found.loc[(name, limit), 'mean']:.2f} +- {found.loc[(name, limit), 'sem']:.2f}" for limit in limits]
        lines.append(name.ljust(width) + "".join(f"{cell:>14s}" for cell in cells))
    return "\n".join(lines)
