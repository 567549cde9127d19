"""The made trials, once for all tests; no test changes their files."""

from tests.bench.conftest import folder, independent, made

__all__ = ["folder", "independent", "made"]
