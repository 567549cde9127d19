"""What you may add: each folder is one kind of plug-in, its contract is base.py, and each plug-in is one file."""
