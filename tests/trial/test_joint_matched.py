"""A matched trial has the joint passes of its partner."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from raprune.network.masks import KeepMask
from raprune.results import read_study
from raprune.trial import joint
from raprune.trial.committed import Committed, left_whole
from raprune.trial.within_bound import commit_within_bound
from tests.launch.runs import run_tiny
from tests.trial.test_joint import STUDY


def test_a_matched_trial_has_the_passes_after_one_that_pruned_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its partner's first pass was refused; the next one, with less credit, pruned."""
    calls: list[Committed] = []

    def commit(contract: Any, candidates: Any, decided: KeepMask, val_score: float, *others: Any) -> Committed:
        found = commit_within_bound(contract, candidates, decided, val_score, *others)
        if not calls:
            whole = left_whole(candidates.state, decided.num_filters, val_score, decided.num_kept)
            found = replace(whole, decided_held=False)
        calls.append(found)
        return found

    monkeypatch.setattr(joint, "commit_within_bound", commit)
    run_tiny(tmp_path, 0, "credit=auto", text=STUDY)
    tables = read_study(tmp_path / "out")
    searched, matched = tables.trials["trial_id"]
    passes, theirs = (tables.joint[tables.joint["trial_id"] == name] for name in (searched, matched))
    assert passes["num_kept"].iloc[1] < passes["num_kept"].iloc[0] == passes["num_kept_before"].iloc[0]
    assert theirs["num_kept"].tolist() == passes["num_kept"].tolist()
    assert tables.trials["num_kept"].nunique() == 1
