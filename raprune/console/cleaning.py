"""Says what can be deleted from studies' folders, and deletes it where that is wanted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from raprune.errors import InputError, ResultsError, StorageError
from raprune.system.store import address_of, hollow, is_mirrored, mirrors, shown

if TYPE_CHECKING:
    from rich.console import Console

    from raprune.artefact.cleaning import Leftover
    from raprune.system.store import Copy

KINDS = {
    "stale": "Trials that an earlier version of the study file left behind.",
    "partial": "What was left half written, or moved aside as damaged.",
    "unfinished": "Trials without results, and trainings that were cut short: they start from the beginning.",
    "memo": "The memo: candidates are scored again.",
    "reports": "The report: raprune report draws it again.",
    "state": "Snapshots of completed trials: a lost row costs the whole trial.",
    "models": "Networks that keep_models does not keep.",
    "mirrors": "This machine's copies of what is on a store: they are made again.",
}
"""Kind -> what it is, and what deleting it costs."""
USUAL = ("stale", "partial")
"""What is deleted where no kind is named: nothing that reading or resuming the study needs."""
KEEPS = ("best", "front")


def clean_and_tell(
    folders: Sequence[Path], kinds: Sequence[str], keep_models: str | None, console: Console, *, delete: bool
) -> int:
    """Print for each study what each kind takes, and delete the ``kinds`` on request; returns the exit code.

    A study on a store is named by its mirror for reading. Without ``folders``: the mirrors of all studies.
    """
    code = 0
    for folder in folders or _mirrored(console):
        cleaning = _Cleaning(folder, kinds or USUAL, keep_models, console, delete)
        try:
            if not folders:
                cleaning.mirrors()
            elif is_mirrored(folder):
                cleaning.on_store()
            else:
                cleaning.folder()
        except (ResultsError, InputError, StorageError) as error:
            console.print(str(error), style="red", highlight=False, soft_wrap=True)
            code = 2
        if cleaning.problems:
            code = max(code, 1)
    return code


def _mirrored(console: Console) -> list[Path]:
    """A mirror of each study of which this machine has copies."""
    found = {str(address_of(root)): root for root in mirrors()}
    if not found:
        console.print("this machine has no copies of results on a store", highlight=False, soft_wrap=True)
    return list(found.values())


class _Cleaning:
    """One study."""

    def __init__(
        self, place: Path, kinds: Sequence[str], keep_models: str | None, console: Console, delete: bool
    ) -> None:
        self.place = place
        self.kinds = kinds
        self.keep_models = keep_models
        self.console = console
        self.delete = delete
        self.problems: list[str] = []

    def folder(self) -> None:
        """A study in a folder."""
        from raprune.artefact import cleaning

        study = cleaning.open_study(self.place)
        if self._told(cleaning.leftovers(study, self.keep_models), [], KINDS):
            gone, self.problems = cleaning.delete(study, self.kinds, self.keep_models)
            self._freed(sum(left.num_bytes for left in gone))

    def on_store(self) -> None:
        """A study on a store, and this machine's copies of it."""
        from raprune.artefact import cleaning
        from raprune.artefact.copies import copies_of, free_copies

        with hollow(self.place) as there:
            study, copies = cleaning.open_study(there.folder), copies_of(self.place)
            if not self._told(cleaning.leftovers(study, self.keep_models), copies, KINDS):
                return
            freed = 0
            if set(self.kinds) - {"mirrors"}:
                with there.applied():
                    gone, self.problems = cleaning.delete(study, self.kinds, self.keep_models)
                freed += sum(left.num_bytes for left in gone)
        if "mirrors" in self.kinds:
            gone_copies, problems = free_copies(copies)
            freed += sum(copy.num_bytes for copy in gone_copies)
            self.problems += problems
        self._freed(freed)

    def mirrors(self) -> None:
        """This machine's copies of a study on a store."""
        from raprune.artefact.copies import copies_of, free_copies

        copies = copies_of(self.place)
        if self._told([], copies, ["mirrors"]):
            freed, self.problems = free_copies(copies)
            self._freed(sum(copy.num_bytes for copy in freed))

    def _told(self, found: Sequence[Leftover], copies: Sequence[Copy], shown_kinds: Iterable[str]) -> bool:
        """Print what each kind takes; returns whether it is to be deleted."""
        from rich.table import Table

        from raprune.console.shelf import size

        table = Table(box=None, padding=(0, 2, 0, 2), pad_edge=False, show_header=False)
        would = 0
        for kind in shown_kinds:
            sizes = [left.num_bytes for left in found if left.kind == kind]
            sizes += [copy.num_bytes for copy in copies] if kind == "mirrors" else []
            mark = ("deleted now" if self.delete else "with --yes") if kind in self.kinds and sizes else ""
            would += sum(sizes) if kind in self.kinds else 0
            table.add_row(f"--{kind}", str(len(sizes)), size(sum(sizes)), mark, KINDS[kind])
        self._print(shown(self.place), style="bold")
        self.console.print(table)
        for copy in copies:
            self._print(f"  {copy.root}{_only_here(copy)}")
        if not self.delete:
            self._print(f"nothing is changed; --yes frees {size(would)}\n")
        return self.delete

    def _freed(self, num_bytes: int) -> None:
        from raprune.console.shelf import size

        for problem in self.problems:
            self._print(f"not deleted: {problem}", style="red")
        self._print(f"freed {size(num_bytes)}\n")

    def _print(self, text: str, style: str | None = None) -> None:
        self.console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def _only_here(copy: Copy) -> str:
    """What of a mirror stays, because the store does not have it."""
    if not copy.only_here:
        return ""
    what = f"{copy.only_here[0]} is" if len(copy.only_here) == 1 else f"{len(copy.only_here)} files are"
    example = "" if len(copy.only_here) == 1 else f", such as {copy.only_here[0]}"
    return f": {what} only here and stay{'s' if len(copy.only_here) == 1 else ''}{example}"
