"""What a trial leaves: its network, as weights and the plan that rebuilds it.

``keeping`` decides which networks a study keeps.
"""

from raprune.artefact.plan import NetworkPlan, plan_of
from raprune.artefact.rebuilding import Opened, open_network, write_model
from raprune.artefact.trials import TrialNetworks, open_trial

__all__ = ["NetworkPlan", "Opened", "TrialNetworks", "open_network", "open_trial", "plan_of", "write_model"]
