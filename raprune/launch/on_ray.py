"""On Ray: a cluster, a pool of evaluators in it, and Ray Tune over the study's axes.

Measured on Ray 2.60. The pool exists before Tune's ``fit``, is owned by this process and found by name; a trial is a
thin process of a twentieth of a core. Tune schedules and feeds the display, Parquet remembers: a new Tuner each time,
in which completed trials return at once.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raprune.budget import Account
from raprune.errors import InputError
from raprune.evaluating import PoolAddress
from raprune.evaluators.sharing import data_bytes, share_data, share_given
from raprune.launch.cluster import Resources, connect, resources_for
from raprune.launch.counter import start_counter
from raprune.launch.execute import Place
from raprune.launch.in_flight import trials_in_flight
from raprune.launch.tuning import run_tune
from raprune.study import StudyPlan, TrialSpec

if TYPE_CHECKING:
    from raprune.launch.run import Runner, Watch

READY_S = 600.0
LET_GO_S = 1.0
"""How long evaluators get to let go of the memory of their host before they are ended."""


@contextlib.contextmanager
def ray_runner(
    plan: StudyPlan,
    out: Path,
    todo: Sequence[TrialSpec],
    count: int | str,
    address: str | None,
    watch: Watch,
    account: Account | None = None,
) -> Iterator[Runner]:
    """A runner on a local or running Ray cluster; everything it started is gone afterwards."""
    watch.phase("joining the Ray cluster" if address else "starting Ray")
    threads = max(trial.scoring.threads for trial in plan.trials)
    namespace = f"raprune-{plan.spec.name}-{uuid.uuid4().hex[:8]}"
    joined = connect(address, namespace, plan.spec.evaluators, count, threads, data_bytes=data_bytes(todo))
    import ray  # only now: Ray reads its environment when it is imported

    try:
        resources = resources_for(ray.cluster_resources(), plan.spec.evaluators, count, threads)
        runner = RayRunner(plan, out, resources, namespace, todo, account)
        try:
            yield runner
        finally:
            runner.close()
    finally:
        if not joined:
            ray.shutdown()


class RayRunner:
    """A pool of evaluators, and trials under Ray Tune."""

    def __init__(
        self,
        plan: StudyPlan,
        out: Path,
        resources: Resources,
        namespace: str,
        todo: Sequence[TrialSpec],
        account: Account | None = None,
    ) -> None:
        self.resources = resources
        self.namespace = namespace
        self.actors: list[Any] = []
        self.account = account
        self._counter: Any = None
        self.trials_in_flight = trials_in_flight(todo, resources.num_evaluators)
        self.place = Place(
            str(out.resolve()),
            plan.spec.preset,
            plan.spec.evaluators,
            resources.num_evaluators,
            resources.device,
            None,
            (os.getcwd(),),
            has_budget=account is not None,
        )

    def prepare(self, trials: Sequence[TrialSpec]) -> None:
        """The data, shared; the pool; then the baselines, trained or loaded and measured by its evaluators."""
        import ray

        from raprune.evaluators.dispatch import Call, Dispatcher

        data = share_data(trials)
        self.place = replace(self.place, given=share_given(trials, data))
        self._start_pool()
        if self.account is not None:
            self._counter = start_counter(self.account, self.namespace)
        ray.get([actor.use_data.remote(data) for actor in self.actors])
        distinct = list({trial.baseline_key: trial for trial in trials}.values())

        def submit(actor: Any, items: list[Any]) -> Any:
            baselines = [(trial, self.place.baseline_folder(trial)) for trial in items]
            return actor.prepare.remote(baselines, self.place.given)

        calls = [Call([trial], [index]) for index, trial in enumerate(distinct)]
        Dispatcher(self.actors).run(calls, submit, "preparing the baseline")
        first = self.place.workload(distinct[0])
        ray.get([actor.describe.remote(first) for actor in self.actors])

    def _start_pool(self) -> None:
        import ray

        from raprune.evaluators.ray_pool import EvaluatorProcess

        actor = ray.remote(EvaluatorProcess)
        names = tuple(f"evaluator-{index}" for index in range(self.resources.num_evaluators))
        for name in names:
            options = self.resources.options | {"name": name, "namespace": self.namespace}
            options |= {"max_restarts": -1, "max_task_retries": 0}
            spec = self.place.evaluators
            arguments = (name, spec, self.resources.device, self.place.import_path, self.namespace)
            self.actors.append(actor.options(**options).remote(*arguments))
        pings = [a.ping.remote() for a in self.actors]
        _, missing = ray.wait(pings, num_returns=len(pings), timeout=READY_S)
        if missing:
            raise InputError(f"{len(missing)} of {len(names)} evaluators did not start within {READY_S:.0f} s")
        self.place = replace(self.place, pool=PoolAddress(self.namespace, names))

    def run(self, trials: Sequence[TrialSpec], plan: StudyPlan, watch: Watch) -> Any:
        """Run trials; gives back Tune's result grid."""
        scratch = Path(self.place.out) / ".tune"
        try:
            return run_tune(trials, plan, self.place, self.trials_in_flight, scratch, watch)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def close(self) -> None:
        """End the evaluators; on a cluster that goes on, their GPUs are free at once."""
        import ray

        if not self.actors:
            return
        from raprune.engine.shared import remove_folder

        asked = [actor.let_go.remote() for actor in self.actors]
        ray.wait(asked, num_returns=len(asked), timeout=LET_GO_S)
        for actor in self.actors:
            ray.kill(actor)
        self.actors = []
        if self._counter is not None:
            ray.kill(self._counter)
        remove_folder(self.namespace, LET_GO_S)
