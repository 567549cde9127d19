"""Which images a network sees, with their labels.

Contract: ``load(settings) -> Splits`` (:mod:`raprune.plugins.datasets.base`); one file per data set.

Settings may have ``problems() -> [(key, message)]``, which lists what is wrong before any work, such as a missing path.
Settings of a data set that needs files also have ``remedies() -> [argument]``: the command-line arguments with which
the study would find its data, best first (a comment may follow each). The split into train and val is
seeded and part of the settings; ``test`` is never used for a reward.
"""
