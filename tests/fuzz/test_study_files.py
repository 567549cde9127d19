"""Mutated study files through ``check``: a sentence with the file's name, never a traceback, never a hang.

``make fuzz`` runs all of them, ``make test`` the first few.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.running import call
from tests.fuzz.study_mutations import mutated

SHORT, LONG = 40, 300


def faults(seeds: range, folder: Path) -> list[str]:
    """What is wrong with the answers, with the seed and the end of the text."""
    found = []
    for seed in seeds:
        file = folder / f"study-{seed}.yaml"
        file.write_bytes(mutated(seed))
        answer = call("check", file)
        if (fault := answer.fault(file.name)) is not None:
            found.append(f"seed {seed}: {fault}: {answer.text[-600:]}")
    return found


def test_a_few(tmp_path: Path) -> None:
    assert faults(range(SHORT), tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("first", range(SHORT, LONG, 20))
def test_all(first: int, tmp_path: Path) -> None:
    assert faults(range(first, min(first + 20, LONG)), tmp_path) == []
