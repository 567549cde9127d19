"""Results with one file damaged through ``report``, ``export``, ``bench`` and ``study``: no traceback, no hang.

``make fuzz`` runs all of them, ``make test`` the first few, with the first figures alone.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import analysis.plots
from tests.fuzz.file_mutations import mutate
from tests.fuzz.running import call
from tests.short import IMPORT

SHORT, LONG = 2, 150
BENCH_EVERY = 25
"""A benchmark that begins takes long; one that refuses does not."""


def faults(seeds: range, study: tuple[Path, Path], folder: Path) -> list[str]:
    """What is wrong with the answers, with the seed, the file, what was done to it and the end of the text."""
    found = []
    for seed in seeds:
        out = Path(shutil.copytree(study[1], folder / str(seed)))
        trials = sorted((out / "trials").iterdir())
        trial = trials[seed % len(trials)]
        file, what = mutate(out, seed)
        refused = False
        for command in _commands(study[0], out, trial):
            if command[0] == "bench" and not refused and seed % BENCH_EVERY != BENCH_EVERY - 1:
                continue
            answer = call(*command)
            refused = command[0] == "export" and answer.code == 2
            if (fault := answer.fault(file.name, file.parent.name)) is not None:
                place = file.relative_to(out)
                found.append(f"seed {seed}: {place} {what}: {command[0]}: {fault}: {answer.text[-600:]}")
        shutil.rmtree(out)
    return found


def _commands(study: Path, out: Path, trial: Path) -> list[tuple[object, ...]]:
    allowed = ("--allow-import", IMPORT)
    exported = out.parent / "exported.safetensors"
    return [
        ("report", out, "--out", out / "elsewhere"),
        ("export", trial, "--out", exported, "--format", "safetensors", "--force", *allowed),
        ("bench", trial, "--runs", 1, "--batch-size", 1, "--backend", "eager", *allowed),
        ("study", study, "--out", out),
        ("report", out),
    ]


def test_a_few(small_study: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = analysis.plots.figure_modules()[:2]
    monkeypatch.setattr(analysis.plots, "figure_modules", lambda: few)
    assert faults(range(SHORT), small_study, tmp_path) == []


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("first", range(SHORT, LONG, 10))
def test_all(first: int, small_study: tuple[Path, Path], tmp_path: Path) -> None:
    assert faults(range(first, min(first + 10, LONG)), small_study, tmp_path) == []
