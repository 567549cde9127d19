"""What pruning a network came to, for a person and for a program."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from raprune.console.tables import diverged_line, finetune_gain
from raprune.results import candidates_in_all, short_count

T = TypeVar("T")
SHOWN = {
    "layer": "layer",
    "num_filters": "filters",
    "num_kept": "kept",
    "pruning_ratio": "pruned",
    "finetuned_val_score": "val score after it",
    "params": "parameters after it",
    "macs": "multiply-adds after it",
}
"""Column of ``layers`` -> its heading."""


TEMPORARY = "raprune-temporary-"
"""What the names of folders begin with that no caller has chosen."""
FILLED = '<div style="width:{0:.0f}%;height:.7em;background:#4878a8"></div>'
BAR = f'<div style="width:6em;border:1px solid #888">{FILLED}</div>'
"""How much of a layer is kept, in percent, as notebooks draw it."""
STOPPED = "; its budget is spent: to resume, repeat the call with the same out and a larger budget"


def _column(name: str, read: Callable[[Any], T], doc: str) -> T:
    """A property: the value of a column of the trial's row."""
    column: Any = property(lambda report: read(report.row[name]), doc=doc)
    return column  # type: ignore[no-any-return]


def _maybe(value: Any) -> float | None:
    return None if value is None or pd.isna(value) else float(value)


@dataclass(frozen=True, eq=False, repr=False)
class Report:
    """Scores in ``score_unit`` (percent, or dB), drops in points of it, positive is worse; ``print`` shows it whole."""

    row: Mapping[str, Any]
    """Every column of the trial's row, as docs/results.md explains it."""
    layers: pd.DataFrame
    """One row a layer as it was decided, in that order, as docs/results.md explains it."""
    folder: Path | None = None
    """The study's folder, with rows, weights and settings: what ``out`` said, else a temporary one."""
    joint: pd.DataFrame = field(default_factory=pd.DataFrame)
    """One row a joint pass, which prunes all layers further, as docs/results.md explains it."""

    status = _column("status", str, "``completed``; or ``stopped``, where a budget ended it.")
    score_name = _column("score_name", str, "What the scores are.")
    score_unit = _column("score_unit", str, "``percent``, or ``dB``.")
    drop_bound = _column("drop_bound", float, "Points of validation score that might be lost.")
    baseline_val_score = _column("baseline_val_score", float, "Of the given network, on the validation images.")
    baseline_finetuned_val_score = _column(
        "baseline_finetuned_val_score", _maybe, "What the same fine-tuning alone gives; ``None`` where it diverges."
    )
    val_score = _column("val_score", float, "Of the smaller network, on the validation images that steered the search.")
    val_score_drop = _column("val_score_drop", float, "Points lost on the validation images; at most ``drop_bound``.")
    guard_score_drop = _column(
        "guard_score_drop", _maybe, "Points lost on the guard images, which chose nothing; ``None`` without a guard."
    )
    score_drop_limit = _column(
        "score_drop_limit", _maybe, "What is lost on fresh images is at most this, with 95% confidence; or ``None``."
    )
    baseline_test_score = _column("baseline_test_score", _maybe, "Of the given network; ``None`` without test images.")
    test_score = _column("test_score", _maybe, "Of the smaller network, on images that it never saw; or ``None``.")
    test_score_drop = _column("test_score_drop", _maybe, "Points lost on the test images; ``None`` without.")
    baseline_params = _column("baseline_params", int, "Trainable numbers of the given network.")
    params = _column("params", int, "Trainable numbers of the smaller network.")
    baseline_macs = _column("baseline_macs", int, "Multiply-adds for one image, of the given network.")
    macs = _column("macs", int, "Multiply-adds for one image, of the smaller network.")
    pruning_ratio = _column("pruning_ratio", float, "Share of the decided layers' filters that is gone, 0 to 1.")

    def lines(self) -> list[str]:
        """The figures but for the layers', a sentence or so each."""
        unit = "%" if self.score_unit == "percent" else f" {self.score_unit}"
        finetuned = self.baseline_finetuned_val_score
        alone = "diverges" if finetuned is None else f"{finetuned:.2f}{unit}"
        decided, whole = int(self.row["num_layers"]), int(self.row["num_layers_whole"])
        lines = [
            f"{self.row['model']} on {self.row['dataset']}: {self.pruning_ratio:.1%} of the filters of {decided} "
            f"layers pruned ({whole} left whole)" + ("" if self.status == "completed" else STOPPED),
            f"{self.score_name} on {int(self.row['num_val_images'])} validation images: "
            f"{self.baseline_val_score:.2f}{unit} -> {self.val_score:.2f}{unit} "
            f"(drop {self.val_score_drop:+.2f}, bound {self.drop_bound:g}; fine-tuned without pruning: "
            f"{alone})",
        ]
        if self.guard_score_drop is not None and self.score_drop_limit is not None:
            lines.append(
                f"{self.score_name} on {int(self.row['num_guard_images'])} guard images: drop "
                f"{self.guard_score_drop:+.2f}; on fresh images at most {self.score_drop_limit:+.2f} "
                "(95% confidence)"
            )
        if self.test_score is not None and self.test_score_drop is not None:
            lines.append(
                f"{self.score_name} on test images: {self.baseline_test_score:.2f}{unit} -> "
                f"{self.test_score:.2f}{unit} (drop {self.test_score_drop:+.2f})"
            )
        if (gain := finetune_gain(self.row, self.drop_bound)) is not None and finetuned is not None:
            cost = finetuned - self.val_score
            lines.append(
                f"fine-tuning alone gains {gain:.2f} points, more than the bound: the network was not trained to its "
                f"end; against it fine-tuned alike the drop is {cost:+.2f}"
            )
        if number := self.row.get("num_diverged"):
            lines.append(diverged_line(number))
        if images := short_count(self.row.get("images_scored")):
            lines.append(f"candidates: {candidates_in_all(self.row):,.0f} ({images} validation images scored)")
        for what, before, after in (
            ("parameters", self.baseline_params, self.params),
            ("multiply-adds", self.baseline_macs, self.macs),
            ("bytes", int(self.row["baseline_model_bytes"]), int(self.row["model_bytes"])),
        ):
            lines.append(f"{what}: {before:,} -> {after:,} ({1 - after / before:.1%} fewer)")
        if (unfactorised := self.row.get("params_before_low_rank")) not in (None, self.params):
            lines.append(f"of that by low rank: {unfactorised:,} -> {self.params:,} parameters")
        if self.folder is not None:
            chosen = "" if not self.folder.name.startswith(TEMPORARY) else " (temporary; out= names one to keep)"
            lines.append(f"rows, weights and settings: {self.folder}{chosen}")
        return lines

    def table(self) -> pd.DataFrame:
        """The layers as a person reads them, each as it was decided; then the whole network after each joint pass."""
        frame = self._steps()
        frame["pruning_ratio"] = frame["pruning_ratio"].map("{:.1%}".format)
        frame["finetuned_val_score"] = frame["finetuned_val_score"].map("{:.2f}".format)
        for column in ("params", "macs"):
            frame[column] = frame[column].map("{:,}".format)
        return frame.rename(columns=SHOWN)

    def _steps(self) -> pd.DataFrame:
        """The columns that are shown, with a row for each layer and joint pass."""
        frame, passes = self.layers[list(SHOWN)], self.joint
        if passes.empty:
            return frame.copy()
        names = [f"joint pass {step + 1}: all layers" for step in passes["joint_step"]]
        passes = passes.assign(layer=names, pruning_ratio=1 - passes["num_kept"] / passes["num_filters"])
        return pd.concat([frame, passes[list(SHOWN)]], ignore_index=True)

    def __str__(self) -> str:
        return "\n".join([*self.lines(), "", self.table().to_string(index=False)])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """As notebooks show it."""
        lines = "".join(f"<li>{html.escape(line)}</li>" for line in self.lines())
        return f"<ul>{lines}</ul>{self._table_html()}"

    def _table_html(self) -> str:
        """The table, each row with a bar for the share of its filters that is kept."""
        frame = self.table().map(lambda value: html.escape(str(value)))
        steps = self._steps()
        kept = (steps["num_kept"] / steps["num_filters"]).fillna(0)
        frame.insert(1, "", [BAR.format(100 * share) for share in kept])
        return str(frame.to_html(index=False, border=0, escape=False))
