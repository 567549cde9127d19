"""Who computes a candidate: this process or a pool of Ray actors. Contract: ``base.py``; one file each."""
