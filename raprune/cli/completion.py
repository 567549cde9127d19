"""What Tab offers in a shell where the command line takes a study, a kind, or the folder of a trial or a study.

Nothing is offered where a path is being typed: the shell completes those itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from raprune.study.bundled import bundled_studies

KINDS_LISTED = (
    "model", "dataset", "score", "method", "decision", "order", "allocation", "reward", "evaluator", "engine", "scheme",
    "format", "sampler", "scheduler", "tracker", "preset", "study",
)  # fmt: skip
"""What ``raprune list`` takes."""


def complete_study(incomplete: str) -> list[str]:
    """The studies that come with raprune, and the study files in this folder."""
    here = [file.name for suffix in ("yaml", "yml") for file in Path().glob(f"*.{suffix}")]
    return _beginning([*bundled_studies(), *sorted(here)], incomplete)


def complete_kind(incomplete: str) -> list[str]:
    """The kinds of plug-ins, ``preset`` and ``study``."""
    return _beginning(KINDS_LISTED, incomplete)


def complete_model(incomplete: str) -> list[str]:
    """The networks that come with raprune."""
    return _beginning(_names("model"), incomplete)


def complete_dataset(incomplete: str) -> list[str]:
    """The data sets that come with raprune."""
    return _beginning(_names("dataset"), incomplete)


def complete_results(incomplete: str) -> list[str]:
    """Folders of studies under results/."""
    return _beginning(sorted(str(file.parent) for file in Path("results").glob("*/manifest.json")), incomplete)


def complete_trial(incomplete: str) -> list[str]:
    """Folders of completed trials under results/."""
    done = Path("results").glob("*/trials/*/trial.parquet")
    return _beginning(sorted(str(file.parent) for file in done), incomplete)


def _names(kind: str) -> list[str]:
    from raprune.registry import KINDS

    return KINDS[kind].names()


def _beginning(known: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in known if name.startswith(incomplete)]
