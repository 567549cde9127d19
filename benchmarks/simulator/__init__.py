"""Recorded candidates replayed on a simulated clock: the project's own dispatcher and pool on a cluster that is not there.

What is real: :class:`raprune.evaluators.ray_pool.RayPool` and all that it calls, for every trial. What is simulated:
time, nodes, evaluators, and what a call costs in Ray. ``python -m benchmarks.simulator`` prints docs/scale.md's tables.
"""
