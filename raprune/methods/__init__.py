"""Methods: each decides one layer's keep mask. Contract: :class:`raprune.deciding.Method`, one file a method."""
