"""At a trial's end: the copies of its network and of its baseline that the report's page runs, if they can have any."""

from __future__ import annotations

import contextlib
from pathlib import Path

from raprune.engine.tasks import PageCopy
from raprune.engine.workload import Baseline
from raprune.errors import DamagedError
from raprune.evaluators.base import Evaluator
from raprune.network.state import State
from raprune.results import read_page_copy, write_page_copy


def write_page_copies(evaluator: Evaluator, baseline: Baseline, state: State, model_folder: Path) -> None:
    """Write the copy of ``state``'s network into ``model_folder``, and the baseline's beside it if it is not there yet.

    No row depends on them.
    """
    copy = evaluator.run(PageCopy(), state)
    write_page_copy(model_folder, copy, baseline.weights_fingerprint)
    folder = Path(baseline.folder)
    if copy is not None and not _has_copy(folder, baseline.weights_fingerprint):
        untouched = evaluator.run(PageCopy(), State.baseline(baseline.key))
        write_page_copy(folder, untouched, baseline.weights_fingerprint)


def _has_copy(folder: Path, weights_fingerprint: str) -> bool:
    with contextlib.suppress(DamagedError):
        found = read_page_copy(folder)
        return found is not None and found["baseline"] == weights_fingerprint
    return False
