"""How many candidates share one set of launches, and when."""

from __future__ import annotations

from typing import Literal

from raprune.engine.workload import Workload
from raprune.study import TrialSpec

Purpose = Literal["commit", "final"]
MASKS_A_LAUNCH = 8
"""Masks per launch where several are stacked into one (on a GPU).

Every launch holds exactly this many, so a score depends on its mask alone: never on the other masks of the request, the
number of evaluators, a timing, or what is already known.
"""


def masks_a_launch(workload: Workload | TrialSpec, device_type: str) -> int:
    """Masks of a request that are computed together on a type of device: fine-tuned, or else stacked for scoring."""
    steps, fidelity = workload.finetune.before_reward.num_steps(1), workload.fidelity
    if fidelity.together > 1:
        return fidelity.together if steps else 1
    return MASKS_A_LAUNCH if device_type == "cuda" and fidelity.is_full and not steps else 1
