"""Which filters of a ranked layer go.

Contract: :class:`raprune.plugins.decisions.base.DecisionStage`; one file per decision stage.
"""
