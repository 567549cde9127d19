"""The made trials, once for all tests; no test changes their files."""

from __future__ import annotations

from pathlib import Path

import pytest

from raprune.artefact.trials import TrialNetworks, open_trial
from tests.bench.trials import write_trial


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trial's folder, for tests that change nothing in it."""
    return write_trial(tmp_path_factory.mktemp("independent"))


@pytest.fixture(scope="session")
def independent(made: Path) -> TrialNetworks:
    """A residual network whose summands keep different filters."""
    return open_trial(made)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A trial's folder of one's own."""
    return write_trial(tmp_path / "made")
