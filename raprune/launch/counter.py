"""A study's budget on Ray: one small named actor that all trials call.

Trials report totals to it, so a repeated call changes nothing. It lives on the driver's node, whose clock says when the
hours have passed. If it dies, it restarts from what the study had spent when the run began, and learns the rest with
the next call of each trial.
"""

from __future__ import annotations

from typing import Any

from raprune.evaluators.backend import Actor, Backend
from raprune.evaluators.base import PoolAddress
from raprune.evaluators.dispatch import Call, Dispatcher, Submit
from raprune.evaluators.pulse import Pulse, Pulses
from raprune.evaluators.ray_backend import RayBackend
from raprune.trial.budget import Account, Budget, Unlimited

NAME = "budget"


class SharedBudget:
    """The budget as a trial sees it: forwards calls to the actor."""

    def __init__(self, actor: Actor, backend: Backend) -> None:
        self._backend = backend
        self._dispatcher = Dispatcher({NAME: actor}, backend, pulses=Pulses(backend))

    def spent(self, trial_id: str, num_candidates: int) -> bool:
        return bool(self._dispatcher.run([Call([num_candidates], [0])], self._ask(trial_id), "asking the budget")[0])

    def _ask(self, trial_id: str) -> Submit:
        return lambda actor, items: self._backend.call(actor, "spent", trial_id, items[0])


def start_counter(account: Account, namespace: str) -> Any:
    """Start the actor; the caller keeps it, because it ends with its last handle."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor = ray.remote(Counter).options(
        name=NAME, namespace=namespace, num_cpus=0, scheduling_strategy=here, max_restarts=-1, max_task_retries=0
    )
    return actor.remote(account, namespace)


class Counter:
    """The actor."""

    def __init__(self, account: Account, namespace: str) -> None:
        self._account = account
        self._pulse = Pulse(RayBackend(namespace), NAME)

    def spent(self, trial_id: str, num_candidates: int) -> list[bool]:
        """As :class:`raprune.trial.budget.Account`."""
        return [self._account.spent(trial_id, num_candidates)]

    def ping(self) -> str:
        return NAME


def find_budget(pool: PoolAddress | None, has_budget: bool) -> Budget:
    """The budget of the study whose pool is at ``pool``."""
    if pool is None or not has_budget:
        return Unlimited()
    backend = pool.connect()
    return SharedBudget(backend.find(NAME), backend)
