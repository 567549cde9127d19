"""The report's page: one HTML file beside its figures, readable without a network."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import pandas as pd

from raprune.results import Tables, candidates_in_all, short_count

from .gaps import mean_gaps, paired_layers
from .labels import describe, drop_text, in_order, rehearsed_study, seeds_line, text
from .repeats import repeats_line
from .trials_table import fresh_drop, has_numbers, over_bound, trial_name, trials_table

STYLE = """
:root { color-scheme: light; --ink: #1f2328; --soft: #57606a; --line: #d0d7de; --back: #f6f8fa; --blue: #0969da;
  --red: #cf222e; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); max-width: 1160px; margin: 2rem auto;
  padding: 0 1.2rem; }
h1 { font-size: 1.7rem; margin: 0; } h2 { font-size: 1.2rem; margin: 2.4rem 0 .3rem; }
p { margin: .3rem 0 .8rem; max-width: 62rem; } .soft { color: var(--soft); } p.soft { font-size: .9rem; }
figure { margin: 0; } img { max-width: 100%; height: auto; border: 1px solid var(--line); border-radius: 6px; }
a { color: var(--blue); text-decoration: none; } a:hover { text-decoration: underline; }
.cards { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1.2rem 0; }
.card { background: var(--back); border: 1px solid var(--line); border-radius: 6px; padding: .6rem 1rem;
  min-width: 9rem; max-width: 17rem; }
.card b { display: block; font-size: 1.35rem; } .scroll { overflow-x: auto; }
.failures { border: 1px solid var(--red); border-left-width: 6px; border-radius: 6px; padding: .3rem 1rem .6rem; }
.failures h2 { margin: .4rem 0; color: var(--red); } pre { font-size: .8rem; overflow-x: auto; }
table { border-collapse: collapse; font-size: .82rem; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .22rem .45rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th { background: var(--back); white-space: normal; vertical-align: bottom; }
th.text, td.text { text-align: left; } .failed { color: var(--red); }
tr.stopped { font-style: italic; }
td[colspan] { white-space: normal; }
"""


@dataclass(frozen=True)
class Drawn:
    """A figure of the report."""

    name: str
    title: str
    caption: str
    width: int | None
    """In pixels of the page; ``None`` if the study has no data for it."""


def render_page(tables: Tables, figures: Sequence[Drawn]) -> str:
    """The page as HTML."""
    manifest = tables.manifest
    rehearsed = rehearsed_study(manifest)
    name = escape(f"Rehearsal of {rehearsed}" if rehearsed else manifest["study"])
    shown = "\n".join(_figure(f) for f in figures if f.width)
    empty = [f.title for f in figures if not f.width]
    nothing = f"<p class='soft'>No data for: {escape('; '.join(empty))}.</p>" if empty else ""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{name}: raprune report</title><style>{STYLE}</style></head><body>
<h1>{name}</h1>
{_rehearsal(tables, rehearsed)}
<p>{escape(manifest.get("description") or "")}</p>
<p class="soft">{escape(seeds_line(tables.trials))} {escape(repeats_line(tables))}</p>
<div class="cards">{_cards(tables)}</div>
{_failures(tables)}
{shown}
{nothing}
<section id="trials"><h2>All trials</h2>
<p class="soft">Scores are in {escape(_units(tables))}, drops and bounds in points of it (positive is worse, red is over
the bound). A matched trial shows its partner's bound and has none itself. Behind the drop on the guard images, in
brackets, is the upper limit of the drop on fresh images at 95% confidence, by a paired test on the guard.
Candidates are the masks scored for the trial, those that found the order of its layers included (0 for a matched trial:
its partner searched); images scored are the validation images that they saw, none where the score was known before.
The rows are in <code>trials/*/trial.parquet</code>; only trials of the present study are shown.</p>
<div class="scroll">{trials_table(tables)}</div></section>
<p class="soft">{_provenance(tables)}</p>
</body></html>
"""


def _rehearsal(tables: Tables, rehearsed: str | None) -> str:
    """A warning that the numbers are those of a rehearsal, not the study's."""
    if rehearsed is None:
        return ""
    pairs = in_order(f"{text(row['model'])} on {text(row['dataset'])}" for row in tables.trials.to_dict("records"))
    what = f" ({', '.join(pairs)})" if pairs else ""
    warning = f"The settings are those of the study's rehearsal block{what}. No number here is a result of {rehearsed}."
    return f"<p><b>{escape(warning)}</b></p>"


def _figure(figure: Drawn) -> str:
    files = " ".join(f'<a href="{figure.name}.{kind}">{kind.upper()}</a>' for kind in ("png", "svg", "csv"))
    image = f'<img src="{figure.name}.png" width="{figure.width}" alt="{escape(figure.title)}">'
    return f"""<section id="{figure.name}"><h2>{escape(figure.title)}</h2>
<p>{escape(figure.caption)} <span class="soft">{files}</span></p>
<figure><a href="{figure.name}.svg">{image}</a></figure></section>"""


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
    bounded = describe(done)
    bounded = bounded[bounded["drop_bound"].notna()]
    if len(bounded):
        best = bounded.loc[bounded["pruning_ratio"].idxmax()]
        spent = f"{short_count(candidates_in_all(best))} candidates"
        known = "" if pd.isna(best["score_drop_limit"]) else f"; guard drop (limit) {fresh_drop(best.to_dict())}"
        name = f"of the filters pruned at most ({trial_name(best.to_dict())}; {spent}{known})"
        cards.append((f"{best['pruning_ratio']:.1%}", name))
    cards += _gaps(tables)
    cards.append(_spent(done))
    if number := int(done["num_diverged"].sum()):
        cards.append((f"{number:,}", "fine-tunes diverged (NaN or infinite weights) and were not kept"))
    return cards


def _gaps(tables: Tables) -> list[tuple[str, str]]:
    """A card for each matched method: what its choice loses more than its partner's, as cut."""
    cards = []
    for row in mean_gaps(paired_layers(tables), ["like", "method", "unit"]).to_dict("records"):
        known = not pd.isna(row["lowest"])
        over = f"95% interval {drop_text(row['lowest'])} to {drop_text(row['highest'])} over " if known else ""
        words = (
            f"{row['unit']} lost more by {row['method']} than by {row['like']} at the same ratios, as cut: mean of "
            f"{_counted(row['num_layers'], 'layer')}, {over}{_counted(row['num_baselines'], 'baseline')}"
        )
        cards.append((drop_text(row["gap"]), words))
    return cards


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun if number == 1 else noun + 's'}"


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


def _units(tables: Tables) -> str:
    """Unit of the scores: percent, or another; perhaps both for several scores."""
    return " or ".join(in_order(text(unit) or "percent" for unit in tables.trials["score_unit"])) or "percent"


def _failures(tables: Tables) -> str:
    """What failed and what broke its contract, with the whole error; empty if all went well."""
    rows = describe(tables.trials).to_dict("records")
    failed = [row for row in rows if row["status"] == "failed"]
    over = [row for row in rows if has_numbers(row) and over_bound(row)]
    if not failed and not over:
        return ""
    counts = [
        f"{len(of)} {'trial' if len(of) == 1 else 'trials'} {what}"
        for of, what in ((failed, "failed"), (over, "over the bound"))
        if of
    ]
    items = [_failure(row) for row in failed] + [_over(row) for row in over]
    return f"<section class='failures' id='failures'><h2>{', '.join(counts)}</h2>{''.join(items)}</section>"


def _failure(row: dict[str, Any]) -> str:
    error = (text(row["error"]) or "no error was recorded").strip()
    head, _, rest = error.partition("\n")
    name = f"<b>{escape(trial_name(row))}</b> <code>{escape(row['trial_id'])}</code>"
    if not rest:
        return f"<p>{name}: {escape(head)}</p>"
    return f"<details><summary>{name}: {escape(head)}</summary><pre>{escape(rest)}</pre></details>"


def _over(row: dict[str, Any]) -> str:
    words = f"lost {row['val_score_drop']:.2f} points of validation score, over its bound"
    return f"<p><b>{escape(trial_name(row))}</b> <code>{escape(row['trial_id'])}</code>: {words}</p>"


def _provenance(tables: Tables) -> str:
    manifest = tables.manifest
    packages = [f"{name} {version}" for name, version in manifest.get("packages", {}).items()]
    devices = ", ".join(sorted(set(tables.trials["device"].dropna()))) or "unknown"
    commit = f", commit {manifest['commit'][:12]}" if manifest.get("commit") else ""
    python = f"Python {manifest['python']}" if manifest.get("python") else ""
    command = shlex.join(["raprune", *manifest.get("command", [])[1:]])
    version = f"raprune {manifest.get('raprune', 'of unknown version')}{commit}"
    facts = [
        version,
        f"preset {manifest.get('preset') or 'unknown'}",
        f"device {devices}",
        ", ".join(filter(None, [python, *packages])),
    ]
    return f"{escape('; '.join(facts))}; <code>{escape(command)}</code>"
