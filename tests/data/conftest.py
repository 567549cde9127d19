"""Fixtures of the tests of data sets."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.files import class_folders


@pytest.fixture
def root(tmp_path: Path) -> Path:
    class_folders(tmp_path / "images", 24)
    return tmp_path / "images"
