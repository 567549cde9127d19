"""What low rank put in the place of a layer, in a few bytes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Factor:
    """A layer as two smaller ones; with the layer's own geometry it says their structure, their weights lie elsewhere.

    The two are called ``first`` and ``second`` inside the layer's name: ``fc6.first.weight``.
    """

    scheme: str
    """Its name in :data:`raprune.registry.SCHEMES`."""
    rank: int
    """Filters of the first layer."""
