"""What a person is told of a study's baselines: their scores, and which of them are hardly trained."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import pandas as pd

from raprune.errors import RapruneError
from raprune.registry import is_given
from raprune.results import read_json
from raprune.study import StudyPlan

FAIR_SCORE = 50.0
"""Percentage of validation images that a baseline trained here should at least answer right."""
MOST_CLASSES = 100
"""With more classes than this, a useful network may score less."""


def baseline_scores(folder: Path | None) -> str:
    """``baseline 99.1% on validation images``, or the range of several; empty where there is none to be read."""
    found = []
    for file in sorted((folder or Path()).glob("baselines/*/baseline.json")) if folder else []:
        with contextlib.suppress(RapruneError):
            read = read_json(file, {"val_score": (int, float), "score_unit": str})
            found.append((read["val_score"], _sign(read["score_unit"])))
    if not found:
        return ""
    scores, unit = sorted(score for score, _ in found), found[0][1]
    many = f"{len(found)} baselines {scores[0]:.1f} to {scores[-1]:.1f}" if len(found) > 1 else ""
    return f"{many or f'baseline {scores[0]:.1f}'}{unit} on validation images"


def baseline_lines(trials: pd.DataFrame) -> Iterator[str]:
    """``baseline: 99.1% on validation, 98.8% on test images``; ranges for several, a line for each kind of baseline."""
    known = trials[trials["baseline_val_score"].notna()].drop_duplicates("baseline_key")
    kinds = list(known.groupby(["model", "dataset", "score_name"], sort=False, dropna=False))
    for (model, dataset, score), own in kinds:
        many = "baseline" if len(own) == 1 else f"{len(own)} baselines"
        of = f" of {model} on {dataset} ({score})" if len(kinds) > 1 else ""
        sign = _sign(own["score_unit"].iloc[0])
        parts = [f"{_span(own['baseline_val_score'], sign)} on validation"]
        if own["baseline_test_score"].notna().any():
            parts.append(f"{_span(own['baseline_test_score'], sign)} on test")
        yield f"{many}{of}: {', '.join(parts)} images"


def trained_keys(plan: StudyPlan) -> set[str]:
    """The baselines that the study itself trains, and that are scored by the share of right answers."""
    return {
        trial.baseline_key
        for trial in plan.trials
        if trial.score.name == "top1_accuracy"
        and trial.baseline.checkpoint is None
        and trial.baseline.epochs
        and not is_given(trial.model.name)
    }


def weak_lines(folder: Path | None, trained: Collection[str]) -> list[str]:
    """A warning for baselines in ``folder`` that were ``trained`` here, but answer fewer than half the images right."""
    scores = []
    for key in sorted(trained) if folder else []:
        with contextlib.suppress(RapruneError):
            file = Path(folder or "") / "baselines" / key / "baseline.json"
            read = read_json(file, {"val_score": (int, float), "num_classes": (int,)})
            if read["val_score"] < FAIR_SCORE and read["num_classes"] <= MOST_CLASSES:
                scores.append(read["val_score"])
    return [_weak(scores)] if scores else []


def _weak(scores: Sequence[float]) -> str:
    right = f"{min(scores):.0f}% of the validation images right"
    who = f"the baseline answers {right}: it is" if len(scores) == 1 else (
        f"{len(scores)} baselines answer fewer than half of the validation images right (one of them "
        f"{min(scores):.0f}%): they are"
    )  # fmt: skip
    return f"{who} hardly trained, and what can be pruned says little; train longer (baseline.epochs)"


def _sign(unit: object) -> str:
    return "%" if unit == "percent" else f" {unit}"


def _span(scores: pd.Series, sign: str) -> str:
    low, high = f"{scores.min():.1f}", f"{scores.max():.1f}"
    return f"{low}{sign}" if low == high else f"{low} to {high}{sign}"
