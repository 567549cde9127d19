"""The user's network of the library's tests."""

from tests.api.conftest import user

__all__ = ["user"]
