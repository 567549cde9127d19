"""Fixtures of the tests of the command line."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.fuzz.running import call


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    """The command line in this process, 120 characters wide: exit code and everything it printed."""
    monkeypatch.setenv("COLUMNS", "120")

    def found(*arguments: object) -> tuple[int, str]:
        answer = call(*arguments)
        return answer.code, answer.text

    return found
