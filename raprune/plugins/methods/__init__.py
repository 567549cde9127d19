"""Which filters a layer keeps.

Contract: :mod:`raprune.plugins.methods.base`; one file per method.
"""
