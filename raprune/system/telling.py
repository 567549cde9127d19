"""How what a person should know while the work goes on reaches the console of the study, as one sentence.

It is a warning of Python, of a class of its own. A program that uses a part of raprune by itself sees it as any
warning; where a study runs, :func:`telling` hands the sentence on.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import TextIO


class Notice(UserWarning):
    """Something has gone wrong that costs time, and no result."""


@contextlib.contextmanager
def telling(tell: Callable[[str], None]) -> Iterator[None]:
    """Hand each :class:`Notice` of the block to ``tell``."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", Notice)
        others = warnings.showwarning

        def show(
            message: Warning | str, category: type[Warning], filename: str, lineno: int,
            file: TextIO | None = None, line: str | None = None,
        ) -> None:  # fmt: skip
            if issubclass(category, Notice):
                tell(str(message))
            else:
                others(message, category, filename, lineno, file, line)

        warnings.showwarning = show
        yield
