"""The schemes that a study can name: one file each, found by :data:`raprune.registry.SCHEMES`."""
