"""What you may add: each folder is a kind of plug-in with its contract in base.py; each plug-in is one file."""
