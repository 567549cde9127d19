"""Recorded trials replayed on a simulated clock, through the project's own pool on a cluster that is not there.

What is real: :class:`raprune.evaluators.ray_pool.RayPool` and all that it calls, for every trial, and the driver's
:class:`raprune.launch.keeper.Keeper`. What is simulated: time, machines, evaluators, and what a call costs in Ray.
``python -m benchmarks.simulator`` prints the tables of docs/scale.md.
"""
