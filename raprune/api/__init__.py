"""The library's front door: prune a network of one's own from Python, or run a study file.

``prune(model, train, val, drop_bound=2.0)`` returns the smaller network and its report; docs/library.md explains it.
"""

from raprune.api.pruning import Pruned, prune
from raprune.api.reopening import load_pruned
from raprune.api.report import Report
from raprune.api.splitting import splits_of
from raprune.api.studies import Study, StudyResult, load_study, run_study

__all__ = ["Pruned", "Report", "Study", "StudyResult", "load_pruned", "load_study", "prune", "run_study", "splits_of"]
