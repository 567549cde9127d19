"""Data sets. Contract: ``load(settings) -> Splits`` (:mod:`raprune.plugins.datasets.base`), one file a data set.

Settings may have ``problems() -> [(key, message)]``: what can be seen to be wrong before any work, such as a missing
path; and where files are needed ``remedies() -> [argument]``: the command-line arguments, in the order in which they
are best tried, with which the study would find its data (a comment may follow each). The split into train and val is
seeded and part of the settings; ``test`` is never used for a reward.
"""
