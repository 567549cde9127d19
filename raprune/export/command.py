"""The command ``raprune export`` from its arguments to what it prints."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from raprune.export.checking import TOLERANCE
from raprune.export.exporting import Exported, Wanted, export_trial, format_for
from raprune.study.allowing import AllowImport
from raprune.study.wording import counted


def export_and_tell(
    folder: Path,
    format_name: str | None,
    out: Path,
    quantised: bool,
    force: bool,
    console: Console,
    allow_import: AllowImport = (),
) -> None:
    """Export the trial in ``folder`` and print how the file compares with the trial's network.

    The format is by default the one that the name of ``out`` ends in.
    """
    wanted = Wanted(format_name or format_for(out), out, quantised, force)
    with console.status("opening the trial") as status:
        exported = export_trial(folder, wanted, allow_import=allow_import, tell=status.update)
    for line in report_lines(exported):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def report_lines(exported: Exported) -> Iterator[str]:
    """What a person reads."""
    largest = ", ".join(f"{d.largest:.1e} for a batch of {size}" for size, d in exported.differences.items())
    which = "logits" if exported.quantised is None else "logits before quantisation"
    yield f"{which}: largest difference over the largest logit {largest}, on {exported.checked_on}"
    tied = {size: d for size, d in exported.differences.items() if d.largest > d.judged and d.largest > TOLERANCE}
    if tied:
        half = ", ".join(f"{d.half:.1e} for a batch of {size}" for size, d in tied.items())
        yield (
            f"half of the logits are within {half}; others read a value that was un-pooled to another place, because "
            "two values of its window are within rounding of each other and each program chooses one (docs/export.md)"
        )
    for measured in exported.scores:
        equal = "as in the trial's row" if not measured.others else f"{measured.row:.6g} in the trial's row"
        why = f" ({measured.others})" if measured.others else ""
        if exported.quantised is None:
            yield f"{measured.split} score: {measured.score:.6g}, {equal}{why}"
        else:
            eight = exported.quantised.scores[measured.split]
            yield (
                f"{measured.split} score: {eight:.6g} in 8 bits ({eight - measured.score:+.3g}); "
                f"{measured.score:.6g} in float, {equal}{why}"
            )
    if exported.note is not None:
        yield f"note: {exported.note}"
    size = f"{exported.num_bytes:,} bytes"
    if exported.quantised is not None:
        images = counted(exported.quantised.num_images, "image")
        size += f", {exported.quantised.float_bytes:,} in float; calibrated on {images}"
    yield f"written: {exported.file} ({size})"
    yield f"load it with {exported.loaded_by}"
