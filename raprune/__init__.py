"""raprune: how far can a convolutional network be pruned?

``from raprune import prune`` gives what :mod:`raprune.api` has. It is imported when it is first asked for, so that
``import raprune`` loads neither torch nor Ray.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from raprune.system.moved import keep_earlier_names

if TYPE_CHECKING:
    from raprune.api import Pruned as Pruned
    from raprune.api import Report as Report
    from raprune.api import Study as Study
    from raprune.api import StudyResult as StudyResult
    from raprune.api import load_pruned as load_pruned
    from raprune.api import load_study as load_study
    from raprune.api import prune as prune
    from raprune.api import run_study as run_study
    from raprune.api import splits_of as splits_of

__version__ = "0.1.0"

_PUBLIC = ("Pruned", "Report", "Study", "StudyResult", "load_pruned", "load_study", "prune", "run_study", "splits_of")

keep_earlier_names()


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from raprune import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
