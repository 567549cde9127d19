"""Data sets. Contract: ``load(settings) -> Splits`` (:mod:`raprune.data`), one file a data set.

Settings may have ``problems() -> [(key, message)]``: what can be seen to be wrong before any work, such as a missing
path. The split into train and val is seeded and part of the settings; ``test`` is never used for a reward.
"""
