"""Layer orders. Contract: :class:`raprune.ordering.Order`, one file an order."""
