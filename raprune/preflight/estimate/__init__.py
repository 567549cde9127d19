"""What a study will cost, from real work timed here (docs/cost.md says how): candidates, hours, memory, results."""

from raprune.preflight.estimate.study import NUM_EVALUATORS, Estimate, estimate_study

__all__ = ["NUM_EVALUATORS", "Estimate", "estimate_study"]
