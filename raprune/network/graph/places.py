"""Finds the line of the user's own code that did something."""

from __future__ import annotations

import contextlib
import linecache
import os
import re
import traceback
from pathlib import Path, PurePath

import torch
from torch import fx

from raprune.network.graph.values import Untraceable
from raprune.system.paths import PACKAGE

TORCH, PYTHON = (f"{Path(file).parent}{os.sep}" for file in (torch.__file__, contextlib.__file__))
RAPRUNE = f"{PACKAGE}{os.sep}"
INSTALLED = ("site-packages", "dist-packages")
"""Folders inside Python's own that hold other packages."""


def is_users(file: str) -> bool:
    """Whether a file is neither Python's, torch's nor raprune's; a library's network counts as the user's."""
    if file.startswith(("<", TORCH, RAPRUNE)):
        return False
    return not file.startswith(PYTHON) or any(folder in file for folder in INSTALLED)


def here() -> str | None:
    """The innermost user line now running, in the form of a traceback; ``None`` if there is none."""
    for frame, line in traceback.walk_stack(None):
        if is_users(frame.f_code.co_filename):
            return f'File "{frame.f_code.co_filename}", line {line}'
    return None


def said_of(error: Exception) -> str:
    """What went wrong, and the user's own line that did it."""
    why = str(error).strip().splitlines()[0] if str(error).strip() else ""
    if not isinstance(error, Untraceable):
        why = f"{type(error).__name__}: {why}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if is_users(frame.filename)]
    if not frames:
        return why
    text = linecache.getline(frames[-1].filename, frames[-1].lineno or 0).strip()
    return f"{why}: {Path(frames[-1].filename).name}:{frames[-1].lineno}" + (f": {text}" if text else "")


def place_of(node: fx.Node) -> str:
    """Where the user's code made a node, as ``, nets.py:12``; empty if that is not known."""
    lines = re.findall(r'File "([^"]+)", line (\d+)', node.stack_trace or "")
    return f", {PurePath(lines[-1][0]).name}:{lines[-1][1]}" if lines else ""
