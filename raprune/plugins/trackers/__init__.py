"""Where else a study's progress is shown: MLflow, Weights & Biases, TensorBoard.

Contract: :class:`raprune.plugins.trackers.base.Tracker`; one file per tracker.
"""
