"""raprune: how far can a convolutional network be pruned?"""

__version__ = "0.1.0"
