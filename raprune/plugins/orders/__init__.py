"""Layer orders. Contract: :class:`raprune.plugins.orders.base.Order`, one file an order."""
