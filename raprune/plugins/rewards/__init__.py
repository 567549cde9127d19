"""What a candidate is worth: plain numbers in, a number out.

Contract: :mod:`raprune.plugins.rewards.base`; one file per reward.
"""
