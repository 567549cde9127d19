"""Rewards: plain numbers in, a number out. Contract: :class:`raprune.rewarding.Reward`, one file a reward."""
