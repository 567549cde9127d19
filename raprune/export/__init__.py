"""How others load a trial's network: files that need no raprune.

``raprune export``; one file per format.
"""
