"""What rankings and decision stages are worth at equal candidates: ``python -m analysis.findings FILE NOW > PAGE``.

Both are Parquet files of trials, as ``python benchmarks/findings.py collect`` writes them: NOW has those that were run
again after the rules for the guard had changed. Differences are paired: a
baseline's trial minus the reference's trial of the same baseline; intervals come from the baselines alone.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from raprune.results import candidates_in_all, interval, short_count

INTRODUCTION = """\
# Findings: rankings and decision stages

A method ranks the filters of a layer; a decision stage has masks scored along that ranking and decides which filters
go. The studies `studies/decisions.yaml` (VGG-16 on digits), `benchmarks/decisions_resnet20.yaml` (ResNet-20 on CIFAR-10
images) and `studies/decisions_segnet.yaml` (SegNet on scenes of digits) ask which pair prunes most within the bound,
where all have as many candidates for a layer.

Every row is a mean over baselines, with as many as are given; for ResNet-20 a baseline is another draw of validation
and test images for the same network. **pruned** is the share of filters, **MACs** the share of multiply-adds that went.
`taylor, credit auto, joint passes` with `search` is the default as users run it: its credit follows what the fine-tunes
win back, and joint passes spend what the layers leave of the bound. Their candidates are taken from the layers', so
that all have about as many in all. `taylor, credit auto` is the same without joint passes, the default before them.
With `joint passes alone` no layer is decided by itself (it has one candidate): as many passes as there are layers, or a
few more, prune all of them together.
In all other rows the credit is fixed, at twice the bound, so that only ranking and decision differ; but the default of
earlier versions (the agent, then trim) has none, and decides from the input up. The last columns are differences in
points of **pruned** from references at the same fidelity: that earlier default, magnitude with prefix and, at twice the
candidates, lazy greedy. They are paired by baseline; brackets hold 95% intervals by a bootstrap over the baselines that
both have. **over b** is the share of trials that lose more than the bound on test images, which decided nothing. A drop
is in points; negative is a gain. A dash means that no trial was run.

Not all pairs were run on every network and at every fidelity: where a candidate is dear, only those that tell most.
Trials that were not finished when the time was over are missing, which is why some rows have fewer baselines. Over a
single baseline a difference of a few points says nothing.

The first section is of today. All others were run before a mask that the guard refuses gave way to parts of itself, and
before early layers left a part of the bound on the guard ([fresh data](fresh_data.md)). Both change trials with credit,
which is all but the earlier default's. Rows of `search` are of the search as it is now, but for two: those with
recalibrated candidates, and `taylor` with a fixed credit on ResNet-20, were run before it learned how masks deviate
from the sum of prices. With recalibrated candidates it prunes less now, by 6.9 points [-3.2, 14.7] on five other
networks ([decisions](decisions.md)).

    python benchmarks/findings.py run --workers 16 --seconds 500 --out results/findings
    python benchmarks/findings.py collect results/findings docs/findings.parquet
    python -m analysis.findings docs/findings.parquet docs/findings-now.parquet > docs/findings.md

Another run needs other folders and another file. The first section has the parts `default` and `alone` on all three
networks, and other parts where its tables show them. Forward-only trials of the default took scores from the memos of
earlier trials, so the images they would have needed are not known.
"""
NOW = """\
## As it is now

On another type of processor than all that follows: its networks are others, so compare within this section only.
"""
HEADINGS = {
    "decisions": "VGG-16 on digits",
    "decisions_resnet20": "ResNet-20 on CIFAR-10 images",
    "decisions_segnet": "SegNet on scenes of digits",
}
FORWARD = "forward only"
"""The fidelity of candidates that are scored as cut, over the whole of val."""
PARTS = {
    "default": "credit auto, joint passes",
    "together": "credit auto, joint passes alone",
    "alone": "credit auto",
    "before": "low to high, no credit",
}
"""Parts of ``benchmarks/findings.py`` with settings of their own, and how those are named."""
BEFORE = (f"agent, {PARTS['before']}", "trim")
LAZY = ("magnitude, 120 a layer", "lazy_greedy")
ALONE = (f"taylor, {PARTS['alone']}", "search")
REFERENCES = (BEFORE, ("magnitude", "prefix"), LAZY)
"""Rankings and decisions that all others of a table are compared with, where the table has them."""
COLUMNS = (
    "ranking", "decision", "baselines", "pruned", "MACs", "val drop", "guard drop", "test drop", "over b",
    "candidates", "images",
)  # fmt: skip


def main() -> None:
    if len(sys.argv) != 3:
        raise SystemExit("usage: python -m analysis.findings FILE NOW > PAGE")
    print(page(*(pd.read_parquet(Path(file)) for file in sys.argv[1:])), end="")


def page(trials: pd.DataFrame, now: pd.DataFrame) -> str:
    """The whole page, in Markdown."""
    parts = [INTRODUCTION, NOW]
    for study, fidelity, rows in _studies(now):
        title = HEADINGS[study] if fidelity == FORWARD else f"{HEADINGS[study]}, {fidelity}"
        parts.append(f"### {title}\n\n{_setting(rows)}\n\n{table(rows)}")
    known = None
    for study, fidelity, rows in _studies(trials):
        title = "" if study == known else f"## {HEADINGS[study]}\n\n"
        parts.append(f"{title}### {fidelity.capitalize()}\n\n{_setting(rows)}\n\n{table(rows)}")
        known = study
    return "\n".join(parts)


def _studies(trials: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Each study and fidelity, with its trials."""
    trials = labelled(trials)
    for study in HEADINGS:
        of_study = trials[trials["study"] == study]
        yield from ((study, str(fidelity), rows) for fidelity, rows in of_study.groupby("fidelity", sort=False))


def _setting(rows: pd.DataFrame) -> str:
    limit = int(rows["usual_limit"].iloc[0])
    return f"Drop bound {rows['drop_bound'].iloc[0]:g}, {limit} candidates for a layer where not said otherwise."


def labelled(trials: pd.DataFrame) -> pd.DataFrame:
    """With ``ranking``, what is unusual about the method included, ``macs_less`` and ``over``; a trial once."""
    trials = trials.drop_duplicates("trial_id").reset_index(drop=True)
    limits = trials.groupby("study")["candidates_per_layer"].agg(lambda values: values.mode().iloc[-1])
    trials = trials.assign(usual_limit=trials["study"].map(limits))
    return trials.assign(
        ranking=[_ranking(row) for row in trials.to_dict("records")],
        macs_less=1 - trials["macs"] / trials["baseline_macs"],
        over=(trials["test_score_drop"] > trials["drop_bound"]).where(trials["test_score_drop"].notna()),
        num_candidates=[candidates_in_all(row) for row in trials.to_dict("records")],
    )


def _ranking(row: dict[str, object]) -> str:
    settings = json.loads(str(row["method_settings"]))
    prior = settings.get("prior")
    words = (f"{row['method']} from {prior}" if prior else str(row["method"]), PARTS.get(str(row.get("part"))))
    name = ", ".join(filter(None, words))
    limit = row["candidates_per_layer"]
    if limit == row["usual_limit"]:
        return name
    if limit is None or np.isnan(float(str(limit))) or float(str(limit)) > 1000:
        return f"{name}, {settings.get('max_updates')} updates, no limit"
    return f"{name}, {float(str(limit)):g} a layer"


def table(trials: pd.DataFrame) -> str:
    """One network and fidelity: a row for each ranking and decision, most pruned first."""
    groups = list(trials.groupby(["ranking", "decision"], sort=False))
    groups.sort(key=lambda group: -group[1]["pruning_ratio"].mean())
    present = {pair for pair, _ in groups}
    has_joint = any(PARTS["default"] in ranking for ranking, _ in present)
    references = [pair for pair in (*REFERENCES, *[ALONE] * has_joint) if pair in present]
    columns = [*COLUMNS, *(f"against {ranking} + {decision}" for ranking, decision in references)]
    lines = [_line(columns), _line(["---"] * 2 + ["---:"] * (len(columns) - 2))]
    for pair, rows in groups:
        differences = ["reference" if pair == other else shown(*paired(trials, pair, other)) for other in references]
        lines.append(_line([*pair, *_cells(rows), *differences]))
    return "\n".join(lines) + "\n"


def _cells(rows: pd.DataFrame) -> Iterator[str]:
    yield str(rows["baseline_key"].nunique())
    yield from (_percent(rows[column]) for column in ("pruning_ratio", "macs_less"))
    yield from (_points(rows[column]) for column in ("val_score_drop", "guard_score_drop", "test_score_drop"))
    yield _percent(rows["over"], digits=0)
    means = rows[["num_candidates", "images_scored"]].astype(float).mean()
    yield from ("-" if np.isnan(value) else short_count(round(value)) for value in means)


def paired(trials: pd.DataFrame, one: tuple[str, str], other: tuple[str, str]) -> tuple[float, float, float]:
    """Mean difference of the pruning ratios of two pairs of ranking and decision, and its 95% interval, points.

    Over the baselines that both have; NaN where there is none, and for the interval where there is only one.
    """
    ratios = trials.groupby(["ranking", "decision", "baseline_key"])["pruning_ratio"].mean()
    sides = [ratios[pair] if pair in ratios.index.droplevel(2) else pd.Series(dtype=float) for pair in (one, other)]
    differences = 100 * (sides[0] - sides[1]).dropna().to_numpy(dtype=float)
    if not len(differences):
        return float("nan"), float("nan"), float("nan")
    return float(differences.mean()), *interval(differences)


def shown(mean: float, low: float, high: float) -> str:
    """``+5.1 [+2.0, +8.3]``."""
    if np.isnan(mean):
        return "-"
    return f"{mean:+.1f}" if np.isnan(low) else f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]"


def _percent(values: pd.Series, digits: int = 1) -> str:
    mean = values.astype(float).mean()
    return "-" if np.isnan(mean) else f"{100 * mean:.{digits}f}%"


def _points(values: pd.Series) -> str:
    mean = values.astype(float).mean()
    return "-" if np.isnan(mean) else f"{mean:+.1f}"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
