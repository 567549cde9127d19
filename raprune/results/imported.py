"""The options that a command on a trial needs where the trial's code is its user's own."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

BUILT = {"bench": ("model",), "export": ("model", "dataset", "score_name")}
"""Command -> the columns of ``trial`` with the plug-ins that it builds."""
GIVEN = "python:"
"""Begins the name of a network or data set that a program passed in, which no command can import."""


def allow_options(row: Mapping[Any, Any], command: str) -> str:
    """`` --allow-import package.module:function`` for each import path that ``command`` builds for the trial of a row;
    empty where there is none."""
    names = [row.get(column) for column in BUILT.get(command, ())]
    own = [name for name in names if isinstance(name, str) and ":" in name and not name.startswith(GIVEN)]
    return "".join(f" --allow-import {shlex.quote(name)}" for name in dict.fromkeys(own))
