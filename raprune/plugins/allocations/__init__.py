"""How much of the drop bound each layer may use.

Contract: :class:`raprune.plugins.allocations.base.Allocation`; one file per allocation.
"""
