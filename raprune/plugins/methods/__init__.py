"""Methods: each decides one layer's keep mask. Contract: :mod:`raprune.plugins.methods.base`; one file a method."""
