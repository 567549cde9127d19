"""How fast a trial's network is: measured beside its baseline.

``raprune bench``. Nothing here changes a number of a trial.
"""
