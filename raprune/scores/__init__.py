"""Scores, in percent or dB, higher is better. Contract (one file a score): :class:`raprune.scoring.Score`."""
