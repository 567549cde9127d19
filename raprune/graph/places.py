"""Where in the user's own code something was done."""

from __future__ import annotations

import contextlib
import linecache
import re
import traceback
from pathlib import Path, PurePath

import torch
from torch import fx

from raprune.graph.values import Untraceable

LIBRARY = (*(str(Path(of).parent) for of in (torch.__file__, contextlib.__file__)), str(Path(__file__).parents[1]), "<")
"""How the files begin that are not the user's."""


def is_users(frame: traceback.FrameSummary) -> bool:
    """Whether a line is neither of a library's core nor of raprune."""
    return not frame.filename.startswith(LIBRARY) or "site-packages" in frame.filename.removeprefix(LIBRARY[0])


def said_of(error: Exception) -> str:
    """What went wrong, and the user's own line where it did."""
    why = str(error).strip().splitlines()[0] if str(error).strip() else ""
    if not isinstance(error, Untraceable):
        why = f"{type(error).__name__}: {why}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if is_users(frame)]
    if not frames:
        return why
    text = linecache.getline(frames[-1].filename, frames[-1].lineno or 0).strip()
    return f"{why}: {Path(frames[-1].filename).name}:{frames[-1].lineno}" + (f": {text}" if text else "")


def place_of(node: fx.Node) -> str:
    """Where the user's code made a node: ``, nets.py:12``; nothing where that is not known."""
    lines = re.findall(r'File "([^"]+)", line (\d+)', node.stack_trace or "")
    return f", {PurePath(lines[-1][0]).name}:{lines[-1][1]}" if lines else ""
