"""Which layer is decided next.

Contract: :class:`raprune.plugins.orders.base.Order`; one file per order.
"""
