"""Where trials run: in process, or on Ray. Imports ray only when a study runs on it."""

from raprune.launch.run import Outcome, Watch, run_study

__all__ = ["Outcome", "Watch", "run_study"]
