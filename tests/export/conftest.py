"""A trial of a user's own network and its files, once for all tests; nobody changes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from raprune.artefact import TrialNetworks, open_trial
from raprune.export.exporting import Exported, Wanted, export_trial
from tests.export.trials import make_trial


@dataclass(frozen=True)
class OwnTrial:
    """Its sum gathers channels, and it un-pools."""

    folder: Path
    trial: TrialNetworks
    exported: dict[str, Exported]
    """Format -> what was written."""


@pytest.fixture(scope="session")
def own_trial(tmp_path_factory: pytest.TempPathFactory) -> OwnTrial:
    folder = make_trial(tmp_path_factory.mktemp("own"))
    out = tmp_path_factory.mktemp("exported")
    files = {
        name: export_trial(folder, Wanted(name, out / f"net.{name}"), allow_import=True)
        for name in ("pt2", "onnx", "safetensors")
    }
    return OwnTrial(folder, open_trial(folder, allow_import=True), files)
