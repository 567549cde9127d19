"""How good a network is: in percent or dB, higher is better.

Contract: :mod:`raprune.plugins.scores.base`; one file per score.
"""
