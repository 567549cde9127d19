"""Every error a user can meet. Each message says what is wrong, where, and what to do.

Errors from outside (the file system, Arrow, JSON, safetensors, YAML, archives, pickles) become ours in one place:
:func:`in_words` says what they mean; :func:`naming` and :func:`translated` wrap code that may raise them.
"""

from __future__ import annotations

import contextlib
import errno
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os import PathLike, fspath


class RapruneError(Exception):
    """Base of all errors that raprune raises on purpose; the message is meant for the user."""


class InputError(RapruneError):
    """The user's input cannot be used: the study, its data, its checkpoint. Exit code 2."""


class MissingDataError(InputError):
    """Data are missing and could not be downloaded."""


class EvaluatorError(RapruneError):
    """Candidates could not be scored; the trial that asked for them fails."""


class ResultsError(RapruneError):
    """A results folder is in use, incomplete or of an unknown version."""


class StorageError(RapruneError):
    """An object store cannot be reached, or refuses what is asked of it; the message names it."""


class FileError(InputError):
    """A file or folder cannot be read or written; the message names it, says why, and what to do."""


class DamagedError(ResultsError, FileError):
    """A file of a results folder is not what raprune wrote: truncated, overwritten, or from another trial."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a study: where it stands, the rule it breaks, the value found."""

    where: str
    """``file:line`` or ``--set``."""
    path: str
    """YAML path, such as ``sweep.drop_bound[0]``; empty for the whole file."""
    message: str
    """Rule, value and, where there is one, the nearest valid choice."""

    def __str__(self) -> str:
        return ": ".join(part for part in (self.where, self.path, self.message) if part)


class StudyError(InputError):
    """A study that cannot be run; carries every problem found, not just the first."""

    def __init__(self, problems: Sequence[Problem], ways_on: Sequence[str] = ()) -> None:
        self.problems = list(dict.fromkeys(problems))
        self.ways_on = list(dict.fromkeys(ways_on))
        """Commands that would work, where data are missing."""
        lines = [str(problem) for problem in self.problems]
        if self.ways_on:
            lines += ["", "to continue, run one of:", *(f"  {command}" for command in self.ways_on)]
        super().__init__("\n".join(lines))


AGAIN = "then run the same command again; finished work is kept"
FORBIDDEN = "permission denied: change its permissions, or choose another place"
MEANINGS = {
    errno.ENOSPC: f"its disk is full: free some space, {AGAIN}",
    errno.EDQUOT: f"your quota on its disk is used up: free some space, {AGAIN}",
    errno.EFBIG: f"it would exceed the largest file size allowed here (ulimit -f): raise the limit, {AGAIN}",
    errno.EACCES: FORBIDDEN,
    errno.EPERM: FORBIDDEN,
    errno.EROFS: "its file system is read-only: choose another place",
    errno.ENOENT: "no such file or folder (it may have been removed in the meantime)",
    errno.EISDIR: "it is a folder, but a file is needed",
    errno.ENOTDIR: "a part of its path is a file, but a folder is needed",
    errno.EEXIST: "it already exists and is not what is needed here",
    errno.ELOOP: "its symbolic links form a loop",
    errno.ENAMETOOLONG: "its name is too long: choose a shorter one",
    errno.EMFILE: f"too many files are open (ulimit -n): raise the limit, {AGAIN}",
    errno.ENFILE: f"too many files are open on this machine: close some programs, {AGAIN}",
    errno.EIO: "its disk cannot be read or written: check the disk",
    errno.ESTALE: f"its network drive has lost it: remount the drive, {AGAIN}",
}
"""errno -> what it means, and what to do."""
TORCH_WITHOUT_MEMORY = "DefaultCPUAllocator: can't allocate memory"
"""In the message of the RuntimeError that torch raises on a processor instead of a MemoryError."""
GPU_WITHOUT_MEMORY = (
    "the GPU has run out of memory: use a smaller scoring.batch_size, finetune.batch_size or evaluators.cache_gib, or "
    "a larger evaluators.gpu_share, with which fewer evaluators share a GPU"
)
READERS = {
    "pyarrow": "Parquet", "safetensors": "safetensors", "safetensors_rust": "safetensors", "json": "JSON",
    "yaml": "YAML", "zipfile": "ZIP", "zlib": "ZIP", "pickle": "pickle", "_pickle": "pickle",
}  # fmt: skip
"""Module of an error's class -> what it reads and writes."""


def in_words(error: BaseException, file: str | PathLike[str] | None = None) -> str | None:
    """What an error from outside means, as a sentence that names ``file`` (else the file that the error names).

    ``None`` for every other error: it is ours, or a user's module raised it.
    """
    if isinstance(error, OSError):
        path = error.filename if file is None else file
        return meaning(error) if path is None else f"{_text(path)}: {meaning(error)}"
    place = "a file" if file is None else _text(file)
    if (number := re.search(r"os error (\d+)", first_line(error))) and int(number[1]) in MEANINGS:
        return f"{place}: {MEANINGS[int(number[1])]}"  # as safetensors reports the file system
    if isinstance(error, UnicodeDecodeError):
        return f"{place} is damaged: it is not UTF-8 text (byte {error.start})"
    if memory := out_of_memory(error):
        return memory
    modules = (kind.__module__.partition(".")[0] for kind in type(error).__mro__)
    form = next((READERS[module] for module in modules if module in READERS), None)
    return None if form is None else f"{place} is damaged: it cannot be read as {form} ({first_line(error)})"


def out_of_memory(error: BaseException) -> str | None:
    """What to do about a lack of memory, of the machine or of its GPU; ``None`` for every other error."""
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and TORCH_WITHOUT_MEMORY in str(error)):
        return "this machine has run out of memory: use smaller batches or images, or fewer evaluators"
    if type(error).__name__ == "OutOfMemoryError" and type(error).__module__.startswith("torch"):
        return f"{GPU_WITHOUT_MEMORY} ({first_line(error)})"
    return None


@contextlib.contextmanager
def naming_memory() -> Iterator[None]:
    """Turn a lack of memory into an :class:`EvaluatorError` that says what to do."""
    try:
        yield
    except Exception as error:
        if (message := out_of_memory(error)) is None:
            raise
        raise EvaluatorError(message) from error


def meaning(error: OSError) -> str:
    """What an error of the file system means, without the file's name."""
    return MEANINGS.get(error.errno or 0) or error.strerror or first_line(error)


@contextlib.contextmanager
def naming(file: str | PathLike[str] | None, way_on: str = "") -> Iterator[None]:
    """Turn errors from outside into a :class:`FileError` that names ``file`` and ends with the ``way_on``."""
    try:
        yield
    except RapruneError:
        raise
    except Exception as error:
        if (message := in_words(error, file)) is None:
            raise
        kind = FileError if isinstance(error, OSError) else DamagedError
        raise kind(f"{message}; {way_on}" if way_on else message) from error


def translated() -> contextlib._GeneratorContextManager[None]:
    """As :func:`naming`, with the error's own file: the boundary of the library, also as a decorator."""
    return naming(None)


def _text(path: object) -> str:
    return str(fspath(path)) if isinstance(path, PathLike) else str(path)


def first_line(error: BaseException) -> str:
    """The first line of an error's text, cut to 200 characters."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
