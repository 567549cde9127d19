"""The formats of ``raprune export``: one file each, found by :data:`raprune.registry.FORMATS`."""
