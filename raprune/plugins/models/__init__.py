"""Networks, one file each. Contract: :mod:`raprune.plugins.models.base`."""
