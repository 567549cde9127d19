"""A trial of a user's own network and its files, once for all tests; nobody changes them."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from raprune.artefact import TrialNetworks, open_trial
from raprune.export.exporting import Exported, Wanted, export_trial
from tests.export.trials import make_trial
from tests.once import made_once


@dataclass(frozen=True)
class OwnTrial:
    """Its sum gathers channels, and it un-pools."""

    folder: Path
    trial: TrialNetworks
    exported: dict[str, Exported]
    """Format -> what was written."""


@pytest.fixture(scope="session")
def own_trial(tmp_path_factory: pytest.TempPathFactory) -> OwnTrial:
    def make(folder: Path) -> None:
        trial, out = make_trial(folder / "own"), folder / "exported"
        out.mkdir()
        files = {
            name: export_trial(trial, Wanted(name, out / f"net.{name}"), allow_import=True)
            for name in ("pt2", "onnx", "safetensors")
        }
        (folder / "told.pickle").write_bytes(pickle.dumps((trial.relative_to(folder), files)))

    folder = made_once(tmp_path_factory, "own-trial", make)
    place, files = pickle.loads((folder / "told.pickle").read_bytes())
    here = {name: replace(told, file=folder / "exported" / told.file.name) for name, told in files.items()}
    return OwnTrial(folder / place, open_trial(folder / place, allow_import=True), here)
