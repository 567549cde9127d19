"""Which trial a search tries next.

Contract: :class:`raprune.plugins.samplers.base.Sampler`; one file per sampler.
"""
