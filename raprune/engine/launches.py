"""How many candidates share one GPU launch, and when."""

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


def shares_launches(workload: Workload | TrialSpec, device_type: str) -> bool:
    """Whether several candidates of ``workload`` are stacked into one launch on a type of device."""
    before = workload.finetune.before_reward
    return device_type == "cuda" and workload.fidelity.is_full and not before.num_steps(1)


def masks_a_launch(workload: Workload, device_type: str) -> int:
    """Masks of a request that are computed together on a type of device."""
    return MASKS_A_LAUNCH if shares_launches(workload, device_type) else 1
