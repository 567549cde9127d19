"""The made trials, once for all tests; nobody changes their files."""

from tests.bench.conftest import folder, independent

__all__ = ["folder", "independent"]
