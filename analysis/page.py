"""The report's page: one HTML file beside its figures, readable without a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import pandas as pd

from raprune.results import Tables

STYLE = """
:root { color-scheme: light; --ink: #1f2328; --soft: #57606a; --line: #d0d7de; --back: #f6f8fa; --blue: #0969da; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); max-width: 1120px; margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.7rem; margin: 0; } h2 { font-size: 1.2rem; margin: 2.4rem 0 .3rem; }
p { margin: .3rem 0 .8rem; max-width: 62rem; } .soft { color: var(--soft); font-size: .9rem; }
figure { margin: 0; } img { max-width: 100%; height: auto; border: 1px solid var(--line); border-radius: 6px; }
a { color: var(--blue); text-decoration: none; } a:hover { text-decoration: underline; }
.cards { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1.2rem 0; }
.card { background: var(--back); border: 1px solid var(--line); border-radius: 6px; padding: .6rem 1rem; min-width: 9rem; }
.card b { display: block; font-size: 1.35rem; } .scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; width: 100%; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th { background: var(--back); } th.text, td.text { text-align: left; } .failed { color: #cf222e; }
"""


@dataclass(frozen=True)
class Drawn:
    """A figure of the report."""

    name: str
    title: str
    caption: str
    drawn: bool
    """False where the study has no data for it."""


def render_page(tables: Tables, figures: Sequence[Drawn]) -> str:
    """The page as HTML."""
    manifest = tables.manifest
    title = escape(f"{manifest['study']}: raprune report")
    shown = "\n".join(_figure(f) for f in figures if f.drawn)
    empty = [f.title for f in figures if not f.drawn]
    nothing = f"<p class='soft'>No data yet for: {escape('; '.join(empty))}.</p>" if empty else ""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>{STYLE}</style></head><body>
<h1>{escape(manifest["study"])}</h1>
<p>{escape(manifest["description"])}</p>
<div class="cards">{_cards(tables)}</div>
{shown}
{nothing}
<h2>All trials</h2>
<p class="soft">Scores in percent, drops in percentage points (positive is worse). Rows: <code>trials/*/trial.parquet</code>.</p>
<div class="scroll">{_trials_table(tables)}</div>
<p class="soft">{_provenance(tables)}</p>
</body></html>
"""


def _figure(figure: Drawn) -> str:
    files = " ".join(f'<a href="{figure.name}.{kind}">{kind.upper()}</a>' for kind in ("png", "svg", "csv"))
    return f"""<section id="{figure.name}"><h2>{escape(figure.title)}</h2>
<p>{escape(figure.caption)} <span class="soft">{files}</span></p>
<figure><a href="{figure.name}.svg"><img src="{figure.name}.png" alt="{escape(figure.title)}"></a></figure></section>"""


def _cards(tables: Tables) -> str:
    trials = tables.trials
    planned = len(tables.manifest["trial_ids"])
    done = trials[trials["status"] == "completed"]
    cards = [(f"{len(done)} of {planned}", "trials completed")]
    failed = int((trials["status"] == "failed").sum())
    if failed:
        cards.append((str(failed), "trials failed"))
    if len(done):
        first = done.iloc[0]
        cards.append((f"{first['baseline_val_score']:.1f}%", f"baseline {first['score_name']} (validation)"))
        within = done[done["matched_trial_id"].isna()]
        if len(within):
            best = within.loc[within["pruning_ratio"].idxmax()]
            text = f"filters pruned at most ({best['method']}, bound {best['drop_bound']:g})"
            cards.append((f"{best['pruning_ratio']:.1%}", text))
        cards.append((f"{int(done['num_candidates'].sum()):,}", "candidates asked for"))
    return "".join(f"<div class='card'><b>{escape(big)}</b>{escape(small)}</div>" for big, small in cards)


_COLUMNS = {
    "method": "method",
    "drop_bound": "bound",
    "order": "order",
    "seed": "seed",
    "pruning_ratio": "filters pruned",
    "params": "params removed",
    "macs": "MACs removed",
    "val_score": "val",
    "val_score_drop": "val drop",
    "test_score": "test",
    "test_score_drop": "test drop",
    "num_layers_whole": "layers whole",
    "num_candidates": "candidates",
    "wall_time_s": "seconds",
}
_TEXT = ("method", "order")


def _trials_table(tables: Tables) -> str:
    head = "".join(f"<th{_class(column)}>{escape(name)}</th>" for column, name in _COLUMNS.items())
    own = tables.trials.set_index("trial_id")["drop_bound"].to_dict()
    body = "".join(_row(row, own) for row in tables.trials.to_dict("records"))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _class(column: str) -> str:
    return " class='text'" if column in _TEXT else ""


def _row(row: dict[Any, Any], bounds: dict[Any, Any]) -> str:
    if row["status"] != "completed":
        message = str(row["error"] or "not finished").splitlines()[0]
        note = f"{row['method']}, {row['order']}: {row['status']}: {message}"
        return f"<tr><td class='text failed' colspan='{len(_COLUMNS)}'>{escape(note)}</td></tr>"
    bound = bounds.get(row["matched_trial_id"] or row["trial_id"])
    shown = {
        "method": row["method"] + (" (matched)" if row["matched_trial_id"] else ""),
        "drop_bound": _number(bound, "{:g}"),
        "order": row["order"],
        "seed": f"{row['seed']:.0f}",
        "pruning_ratio": f"{row['pruning_ratio']:.1%}",
        "params": f"{1 - row['params'] / row['baseline_params']:.1%}",
        "macs": f"{1 - row['macs'] / row['baseline_macs']:.1%}",
        "num_layers_whole": f"{row['num_layers_whole']:.0f} of {row['num_layers']:.0f}",
        "num_candidates": f"{row['num_candidates']:,.0f}",
        "wall_time_s": f"{row['wall_time_s']:.0f}",
    }
    for column in ("val_score", "test_score"):
        shown[column] = _number(row[column], "{:.1f}")
    for column in ("val_score_drop", "test_score_drop"):
        shown[column] = _number(row[column], "{:+.1f}")
    cells = "".join(f"<td{_class(column)}>{escape(shown[column])}</td>" for column in _COLUMNS)
    return f"<tr>{cells}</tr>"


def _number(value: float | None, form: str) -> str:
    return "" if value is None or pd.isna(value) else form.format(value)


def _provenance(tables: Tables) -> str:
    manifest = tables.manifest
    packages = ", ".join(f"{name} {version}" for name, version in manifest["packages"].items())
    devices = ", ".join(sorted({str(d) for d in tables.trials["device"].dropna()})) or "unknown"
    commit = f", commit {manifest['commit'][:12]}" if manifest.get("commit") else ""
    text = f"raprune {manifest['raprune']}{commit}; {packages}; device {devices}; preset {manifest['preset']}"
    return escape(text)
