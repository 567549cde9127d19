"""What candidates scored before: kept across updates, bounds, orders, methods, runs and processes."""

from raprune.evaluators.memo.conditions import Conditions
from raprune.evaluators.memo.memoised import Keeping, Memoised
from raprune.evaluators.memo.store import Memo, writer_name

__all__ = ["Conditions", "Keeping", "Memo", "Memoised", "writer_name"]
