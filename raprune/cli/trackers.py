"""``--tracker NAME``: trackers beside those of the study file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from raprune.study import read_study_file
from raprune.study.plugins import plugin_name


def with_trackers(file: Path, names: Sequence[str], overrides: Sequence[str], rehearse: bool) -> list[str]:
    """``overrides`` and one that adds the trackers ``names``; one that the study has keeps its settings."""
    given = read_study_file(file, overrides, rehearse).data.get("trackers")
    has = given if isinstance(given, list) else []
    known = {plugin_name(one) for one in has}
    new = [name for name in dict.fromkeys(names) if name not in known]
    try:
        return [*overrides, f"trackers={json.dumps([*has, *new])}"] if new else list(overrides)
    except TypeError:  # what could not be read of the file is told in its own place
        return list(overrides)
