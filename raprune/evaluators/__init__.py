"""Who computes a candidate: this process, or a pool of Ray actors; nobody where the memo knows it.

Contract: ``base.py``; one file per evaluator.
"""
