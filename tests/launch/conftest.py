"""The tiny study, run once in process: what every other run must equal."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.launch.runs import run_tiny


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    outcome, out = run_tiny(tmp_path_factory.mktemp("reference"), 0)
    assert outcome.exit_code == 0
    return out
