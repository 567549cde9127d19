"""Says what can be deleted from studies' folders, and deletes it where that is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from raprune.errors import InputError, ResultsError

if TYPE_CHECKING:
    from rich.console import Console

KINDS = {
    "stale": "Trials that an earlier version of the study file left behind.",
    "partial": "What was left half written, or moved aside as damaged.",
    "unfinished": "Trials without results, and trainings that were cut short: they start from the beginning.",
    "memo": "The memo: candidates are scored again.",
    "reports": "The report: raprune report draws it again.",
    "state": "Snapshots of completed trials: a lost row costs the whole trial.",
    "models": "Networks that keep_models does not keep.",
}
"""Kind -> what it is, and what deleting it costs."""
USUAL = ("stale", "partial")
"""What is deleted where no kind is named: nothing that reading or resuming the study needs."""
KEEPS = ("best", "front")


def clean_and_tell(
    folders: Sequence[Path], kinds: Sequence[str], keep_models: str | None, console: Console, *, delete: bool
) -> int:
    """Print for each study what each kind takes, and delete the ``kinds`` on request; returns the exit code."""
    code = 0
    for folder in folders:
        try:
            if _clean(folder, kinds or USUAL, keep_models, console, delete=delete):
                code = max(code, 1)
        except (ResultsError, InputError) as error:
            console.print(str(error), style="red", highlight=False, soft_wrap=True)
            code = 2
    return code


def _clean(folder: Path, kinds: Sequence[str], keep_models: str | None, console: Console, *, delete: bool) -> bool:
    """One folder; returns whether something could not be deleted."""
    from rich.table import Table

    from raprune.artefact import cleaning
    from raprune.console.shelf import size

    study = cleaning.open_study(folder)
    found = cleaning.leftovers(study, keep_models)
    table = Table(box=None, padding=(0, 2, 0, 2), pad_edge=False, show_header=False)
    for kind, meaning in KINDS.items():
        of_kind = [left for left in found if left.kind == kind]
        mark = ("deleted now" if delete else "with --yes") if kind in kinds and of_kind else ""
        table.add_row(f"--{kind}", str(len(of_kind)), size(sum(left.num_bytes for left in of_kind)), mark, meaning)
    console.print(f"{folder}", style="bold", highlight=False, soft_wrap=True)
    console.print(table)
    if not delete:
        freed = size(sum(left.num_bytes for left in found if left.kind in kinds))
        console.print(f"nothing is changed; --yes frees {freed}\n", highlight=False, soft_wrap=True)
        return False
    gone, problems = cleaning.delete(study, kinds, keep_models)
    for problem in problems:
        console.print(f"not deleted: {problem}", style="red", highlight=False, soft_wrap=True)
    console.print(f"freed {size(sum(left.num_bytes for left in gone))}\n", highlight=False, soft_wrap=True)
    return bool(problems)
