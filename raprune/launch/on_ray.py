"""On Ray: a cluster, a pool of evaluators in it, and Ray Tune over the study's axes.

Measured on Ray 2.60. The pool exists before Tune's ``fit``, is owned by this process and found by name; a trial is a
thin process of a twentieth of a core. Tune schedules and feeds the display, Parquet remembers: a new Tuner each time,
in which completed trials return at once.
"""

from __future__ import annotations

import contextlib
import math
import shutil
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raprune.errors import InputError
from raprune.evaluating import PoolAddress
from raprune.launch.cluster import Resources, connect, resources_for
from raprune.launch.execute import Place
from raprune.launch.tuning import run_tune
from raprune.study import StudyPlan, TrialSpec
from raprune.workload import Workload

if TYPE_CHECKING:
    from raprune.launch.run import Runner, Watch

READY_S = 600.0


@contextlib.contextmanager
def ray_runner(
    plan: StudyPlan,
    out: Path,
    todo: Sequence[TrialSpec],
    count: int | str,
    address: str | None,
    watch: Watch,
) -> Iterator[Runner]:
    """A runner on a local or running Ray cluster; everything it started is gone afterwards."""
    import ray

    watch.phase("joining the Ray cluster" if address else "starting Ray")
    threads = max(trial.scoring.threads for trial in plan.trials)
    namespace = f"raprune-{plan.spec.name}-{uuid.uuid4().hex[:8]}"
    joined = connect(address, namespace, plan.spec.evaluators, count, threads)
    try:
        resources = resources_for(ray.cluster_resources(), plan.spec.evaluators, count, threads)
        runner = RayRunner(plan, out, resources, namespace, todo)
        try:
            yield runner
        finally:
            runner.close()
    finally:
        if not joined:
            ray.shutdown()


class RayRunner:
    """Baselines as tasks, a pool of evaluators, trials under Ray Tune."""

    def __init__(
        self, plan: StudyPlan, out: Path, resources: Resources, namespace: str, todo: Sequence[TrialSpec]
    ) -> None:
        self.resources = resources
        self.namespace = namespace
        self.actors: list[Any] = []
        num_masks = [trial.method.settings.get("masks_per_update", 1) for trial in todo]
        self.trials_in_flight = max(2, math.ceil(2 * resources.num_evaluators / max(1, *num_masks, 1)))
        self.place = Place(
            str(out.resolve()), plan.spec.preset, plan.spec.evaluators, resources.num_evaluators, resources.device, None
        )

    def prepare(self, trials: Sequence[TrialSpec]) -> None:
        """Baselines where the evaluators will be (on a GPU, where there are any); then the pool."""
        import ray

        from raprune.baseline import prepare_baseline

        task = ray.remote(prepare_baseline).options(**self.resources.options, max_retries=2)
        distinct = {trial.baseline_key: trial for trial in trials}.values()
        device = self.resources.device
        refs = [task.remote(trial, self.place.baseline_folder(trial), device) for trial in distinct]
        try:
            ray.get(refs)
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, InputError):
                raise error.cause from None
            raise
        self._start_pool([Workload.of(trial, self.place.baseline_folder(trial)) for trial in distinct])

    def _start_pool(self, workloads: Sequence[Workload]) -> None:
        import ray

        from raprune.evaluators.ray_pool import EvaluatorProcess

        actor = ray.remote(EvaluatorProcess)
        names = tuple(f"evaluator-{index}" for index in range(self.resources.num_evaluators))
        for name in names:
            options = {**self.resources.options, "name": name, "max_restarts": -1, "max_task_retries": 0}
            spec = self.place.evaluators
            self.actors.append(actor.options(**options).remote(name, workloads, spec, self.resources.device))
        pings = [a.ping.remote() for a in self.actors]
        ready, missing = ray.wait(pings, num_returns=len(pings), timeout=READY_S)
        ray.get(ready)
        if missing:
            raise InputError(f"{len(missing)} of {len(names)} evaluators did not start within {READY_S:.0f} s")
        self.place = replace(self.place, pool=PoolAddress(self.namespace, names))

    def run(self, trials: Sequence[TrialSpec], plan: StudyPlan, watch: Watch) -> None:
        scratch = Path(self.place.out) / ".tune"
        try:
            run_tune(trials, plan, self.place, self.trials_in_flight, scratch, watch)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def close(self) -> None:
        """End the evaluators; on a cluster that goes on, their GPUs are free at once."""
        import ray

        for actor in self.actors:
            ray.kill(actor)
        self.actors = []

