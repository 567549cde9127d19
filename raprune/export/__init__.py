"""A trial's network for those who do not have raprune: ``raprune export``."""
