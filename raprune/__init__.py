"""raprune: how far can a convolutional network be pruned?"""

from raprune.system.moved import keep_earlier_names

__version__ = "0.1.0"

keep_earlier_names()
