"""Scores, in percent, higher is better. Contract (one file a score): :class:`raprune.scoring.Score`."""
