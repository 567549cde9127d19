"""The study's memo: what candidates scored, kept across updates, bounds, orders, methods, runs and processes."""

from raprune.memo.conditions import Conditions
from raprune.memo.memoised import Memoised
from raprune.memo.store import Memo

__all__ = ["Conditions", "Memo", "Memoised"]
