"""How fast a trial's network is beside its baseline: ``raprune bench``. Nothing here changes a number of a trial."""
