"""A compact description of the two layers that low rank put in place of one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Factor:
    """A layer as two smaller ones. With the layer's geometry it determines their structure; weights are kept elsewhere.

    The two are called ``first`` and ``second`` inside the layer's name: ``fc6.first.weight``.
    """

    scheme: str
    """Its name in :data:`raprune.registry.SCHEMES`."""
    rank: int
    """Filters of the first layer."""
