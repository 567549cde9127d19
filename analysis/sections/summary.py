"""The study in a few numbers."""

from __future__ import annotations

from html import escape

import pandas as pd

from raprune.results import Tables, candidates_in_all, short_count

from ..labels import text
from ..page import Section
from ..studies import Report

PLACE = -2


def section(report: Report) -> Section:
    """Cards: how many trials, the baselines, what it took."""
    return Section("summary", "In numbers", f'<div class="cards">{_cards(report.tables)}</div>')


def _cards(tables: Tables) -> str:
    trials = tables.trials
    planned = len(tables.manifest["trial_ids"])
    done = trials[trials["status"] == "completed"]
    cards = [(f"{len(done)} of {planned}", "trials completed")]
    for status in ("failed", "stopped"):
        if number := int((trials["status"] == status).sum()):
            cards.append((str(number), f"{'trial' if number == 1 else 'trials'} {status}"))
    if missing := planned - len(trials):
        cards.append((str(missing), f"{'trial' if missing == 1 else 'trials'} not ended yet"))
    if len(done):
        cards += _outcomes(tables, done)
    return "".join(f"<div class='card'><b>{escape(big)}</b>{escape(small)}</div>" for big, small in cards)


def _outcomes(tables: Tables, done: pd.DataFrame) -> list[tuple[str, str]]:
    """Cards of the completed trials."""
    cards = [_baselines(of, str(name)) for name, of in done.groupby("score_name", sort=False)]
    cards.append(_spent(done))
    if number := int(done["num_diverged"].sum()):
        cards.append((f"{number:,}", "fine-tunes diverged (NaN or infinite weights) and were not kept"))
    return cards


def _spent(done: pd.DataFrame) -> tuple[str, str]:
    """A card of what all trials asked for: candidates of layers and orders, and the images that they saw."""
    asked = sum(candidates_in_all(row) for row in done.to_dict("records"))
    words = ["candidates"]
    if for_order := int(done["num_order_candidates"].sum()):
        words.append(f"{for_order:,} of them to find the order of the layers")
    known = int(done["num_candidates"].sum() - done["num_scored"].sum())
    words.append(f"{known:,} of the others known before" if for_order else f"{known:,} of them known before")
    if done["images_scored"].notna().all():
        words.append(f"{short_count(done['images_scored'].sum())} images scored")
    return f"{asked:,.0f}", ", ".join(words)


def _baselines(done: pd.DataFrame, score: str) -> tuple[str, str]:
    """A card of the baselines' score."""
    unit = text(done["score_unit"].iloc[0]) or "percent"
    images = " / ".join(f"{number:,.0f}" for number in sorted(set(done["num_val_images"].dropna())))
    finetuned = _span(done["baseline_finetuned_val_score"], unit)
    alone = f"; {finetuned} after the same fine-tuning without pruning" if finetuned else ""
    return _span(done["baseline_val_score"], unit), f"baseline {score} on {images} validation images{alone}"


def _span(scores: pd.Series, unit: str) -> str:
    """A score, or the lowest and the highest of several."""
    sign = "%" if unit == "percent" else f" {unit}"
    ends = dict.fromkeys(f"{score:.1f}{sign}" for score in (scores.min(), scores.max()) if not pd.isna(score))
    return " to ".join(ends)
