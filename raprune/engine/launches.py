"""Several candidates in one launch of a GPU: how many, and when."""

from __future__ import annotations

from typing import Literal

from raprune.engine.workload import Workload
from raprune.study import TrialSpec

Purpose = Literal["commit", "final"]
MASKS_A_LAUNCH = 8
"""Masks that a launch holds where several are stacked into one (on a GPU).

A launch always holds as many, so a score follows from its mask alone: never from the other masks of the request, the
number of evaluators, a timing, or what is known already.
"""


def shares_launches(workload: Workload | TrialSpec, device_type: str) -> bool:
    """Whether several candidates of ``workload`` are stacked into one launch on a type of device."""
    before = workload.finetune.before_reward
    return device_type == "cuda" and workload.fidelity.is_full and not before.num_steps(1)
