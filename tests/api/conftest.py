"""The user's network, trained once."""

from __future__ import annotations

import pytest

from tests.api.networks import User, make_user


@pytest.fixture(scope="session")
def user() -> User:
    return make_user()
