"""Rewards: plain numbers in, a number out. Contract: :mod:`raprune.plugins.rewards.base`; one file a reward."""
