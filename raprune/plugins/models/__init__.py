"""Which network is pruned.

Contract: :mod:`raprune.plugins.models.base`; one file per network.
"""
