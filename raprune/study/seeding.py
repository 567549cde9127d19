"""What a sweep of ``seed`` varies: the whole repetition, not the method's draws alone."""

from __future__ import annotations

from typing import Any

from raprune.errors import InputError
from raprune.registry import DATASETS
from raprune.study.overrides import holds, set_path
from raprune.study.plugins import plugin_name


def follow_seed(raw: dict[str, Any]) -> None:
    """Set a trial's other seeds to its ``seed``, which is swept, where the study does not set them itself.

    They are ``data_seed``, ``baseline.seed`` and, where the data set draws its splits, ``dataset.split_seed``. The
    last two stay where the baseline is a checkpoint: it was trained elsewhere, on a split of its own.
    """
    if type(raw["seed"]) is not int:  # reported where the trial is checked
        return
    followers = ["data_seed"]
    if not holds(raw, "baseline.checkpoint"):
        followers.append("baseline.seed")
        if _draws_splits(raw.get("dataset")):
            followers.append("dataset.split_seed")
    for path in followers:
        if not holds(raw, path) and isinstance(raw.get(path.partition(".")[0], {}), dict | str):
            set_path(raw, path, raw["seed"])


def _draws_splits(dataset: Any) -> bool:
    try:
        return "split_seed" in DATASETS.get(plugin_name(dataset) or "").settings.model_fields
    except InputError:  # reported where the data set is chosen
        return False
