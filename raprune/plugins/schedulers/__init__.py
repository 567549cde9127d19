"""Which trials end early, because others do better.

Contract: :class:`raprune.plugins.schedulers.base.Scheduler`; one file per scheduler.
"""
