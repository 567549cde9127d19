"""A study's budget on Ray: one small named actor, which all trials ask.

What it is told are totals, so a call that is repeated changes nothing and Ray may retry it. It lives on the driver's
node, whose clock says when the hours have passed. If it dies it starts again from what the study had spent when it
began, and learns the rest with the next call of each trial.
"""

from __future__ import annotations

from typing import Any

from raprune.budget import Account, Budget, Unlimited
from raprune.evaluating import PoolAddress

NAME = "budget"


class SharedBudget:
    """A trial's way to the actor."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def spent(self, trial_id: str, num_candidates: int) -> bool:
        import ray

        return bool(ray.get(self._actor.spent.remote(trial_id, num_candidates)))


def start_counter(account: Account, namespace: str) -> Any:
    """The actor; the caller keeps it, for it ends with its last handle."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    asked = dict.fromkeys(("max_restarts", "max_task_retries"), -1)
    actor = ray.remote(Counter).options(
        name=NAME, namespace=namespace, num_cpus=0, scheduling_strategy=here, **asked
    )  # fmt: skip
    return actor.remote(account)


class Counter:
    """The actor."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def spent(self, trial_id: str, num_candidates: int) -> bool:
        """As :class:`raprune.budget.Account`."""
        return self._account.spent(trial_id, num_candidates)


def find_budget(pool: PoolAddress | None, has_budget: bool) -> Budget:
    """The budget of the study whose pool is at ``pool``."""
    import ray

    if pool is None or not has_budget:
        return Unlimited()
    return SharedBudget(ray.get_actor(NAME, namespace=pool.namespace))
