"""Where trials run: in this process, or on Ray.

Imports ray only when a study runs on it.
"""

from raprune.launch.base import Watch
from raprune.launch.run import Outcome, run_study

__all__ = ["Outcome", "Watch", "run_study"]
