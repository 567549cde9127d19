"""On Ray: a cluster, a pool of evaluators in it, and Ray Tune over the study's axes.

Measured on Ray 2.60. The pool exists before Tune's ``fit``, is owned by this process and found by name; a trial is a
thin process that reserves a twentieth of a core. Tune schedules trials and feeds the display; results are kept in
Parquet. Each run creates a new Tuner, in which completed trials return at once.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from raprune.evaluators.base import PoolAddress
from raprune.evaluators.dispatch import Call, Dispatcher
from raprune.evaluators.pulse import Pulses
from raprune.evaluators.ray_backend import RayBackend
from raprune.evaluators.roster import Roster
from raprune.evaluators.sharing import data_bytes, share_data, share_given
from raprune.launch.base import Launch, Watch
from raprune.launch.cluster import connect
from raprune.launch.counter import start_counter
from raprune.launch.execute import Place, check_folder
from raprune.launch.in_flight import trials_in_flight
from raprune.launch.interruption import Interruption
from raprune.launch.resources import Resources, evaluators, resources_for, where
from raprune.launch.tuning import run_tune
from raprune.launch.watching import ClusterWatch
from raprune.study import StudyPlan, TrialSpec

READY_S = 600.0
LOSS_SHOWS_S = 5.0
"""Seconds to wait for the loss of a cluster to show once Ray raises errors."""
LET_GO_S = 1.0
"""Seconds that evaluators get to release their host's memory before they are killed."""


@contextlib.contextmanager
def ray_runner(launch: Launch, watch: Watch, interruption: Interruption | None = None) -> Iterator[RayRunner]:
    """A runner on a local or running Ray cluster; everything that it started is ended afterwards.

    Raises :class:`ClusterLostError` if the cluster is lost meanwhile.
    """
    plan, count, address = launch.plan, launch.count, launch.address
    watch.phase("joining the Ray cluster" if address else "starting Ray")
    threads = max(trial.scoring.threads for trial in plan.trials)
    namespace = f"raprune-{plan.spec.name}-{uuid.uuid4().hex[:8]}"
    signals = interruption or Interruption()
    with signals.held():
        connection = connect(
            address, namespace, plan.spec.evaluators, count, threads, data_bytes=data_bytes(launch.todo, launch.inputs)
        )
        signals.arm()
    import ray  # only now: Ray reads its environment when it is imported

    cluster = ClusterWatch.of_this_process(connection.folder.path if connection.folder else None)
    try:
        cluster.start()
        signals.check()
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        resources = resources_for(nodes, plan.spec.evaluators, count, threads)
        runner = RayRunner(launch, resources, namespace, watch)
        runner.watch_over(cluster, signals)
        try:
            yield runner
        finally:
            with signals.held():
                runner.close()
    except Exception as error:  # the error of a lost cluster differs from call to call
        cluster.check(wait_s=LOSS_SHOWS_S if isinstance(error, ray.exceptions.RayError) else 0.0)
        raise
    finally:
        with signals.held():
            connection.close(keep_logs=cluster.lost is not None)
            cluster.stop()


class RayRunner:
    """A pool of evaluators, and trials under Ray Tune."""

    def __init__(self, launch: Launch, resources: Resources, namespace: str, watch: Watch) -> None:
        self.watch = watch
        self.inputs = launch.inputs
        self.resources = resources
        self.namespace = namespace
        self.actors: list[Any] = []
        self.account = launch.account
        self._counter: Any = None
        self._cluster: ClusterWatch | None = None
        self._signals = Interruption()
        self.trials_in_flight = trials_in_flight(launch.todo, resources.num_evaluators, resources.device)
        self.place = Place(
            str(launch.out.resolve()),
            launch.plan.spec.preset,
            launch.plan.spec.evaluators.model_copy(update={"device": resources.device}),
            resources.num_evaluators,
            resources.device,
            None,
            (os.getcwd(),),
            has_budget=launch.account is not None,
        )

    def watch_over(self, cluster: ClusterWatch, signals: Interruption) -> None:
        """Make every wait from now on end when the cluster is lost."""
        self._cluster, self._signals = cluster, signals

    def _check(self) -> None:
        if self._cluster is not None:
            self._cluster.check()

    def prepare(self, trials: Sequence[TrialSpec]) -> None:
        """Share the data, start the pool, and have its evaluators train or load and measure the baselines."""
        data = share_data(trials, self.inputs)
        self.place = replace(self.place, given=share_given(trials, data, self.inputs))
        pool = self._start_pool()
        if self.account is not None:
            self._counter = start_counter(self.account, self.namespace)
        pool.each(lambda actor, _: actor.use_data.remote(data), "reading the data")
        distinct = list({trial.baseline_key: trial for trial in trials}.values())

        def submit(actor: Any, items: list[Any]) -> Any:
            baselines = [(trial, self.place.baseline_folder(trial)) for trial in items]
            return actor.prepare.remote(baselines)

        pool.run([Call([trial], [index]) for index, trial in enumerate(distinct)], submit, "preparing the baseline")
        first = self.place.workload(distinct[0])
        pool.each(lambda actor, _: actor.load.remote(first), "loading the network and the data")

    def _start_pool(self) -> Dispatcher:
        import ray

        from raprune.evaluators.ray_pool import EvaluatorProcess

        actor = ray.remote(EvaluatorProcess)
        names = tuple(f"evaluator-{index}" for index in range(self.resources.num_evaluators))
        for name in names:
            options = self.resources.options | {"name": name, "namespace": self.namespace}
            options |= {"max_restarts": -1, "max_task_retries": 0}
            spec = self.place.evaluators
            arguments = (name, spec, self.resources.device, self.place.import_path, self.namespace, self.place.given)
            self.actors.append(actor.options(**options).remote(*arguments))
        backend = RayBackend(self.namespace)
        named = dict(zip(names, self.actors, strict=True))
        pool = Dispatcher(named, backend, pulses=Pulses(backend), check=self._check)
        what = f"starting {evaluators(len(names))}"
        pool.each(lambda actor, _: actor.ping.remote(), what, READY_S)
        self.watch.evaluators(where(pool.each(lambda actor, _: actor.node.remote(), what), self.resources.device))
        Roster(backend).write(names)
        self.place = replace(self.place, pool=PoolAddress(self.namespace))
        return pool

    def run(self, trials: Sequence[TrialSpec], plan: StudyPlan, watch: Watch) -> Any:
        """Run trials; returns Tune's result grid, or ``None`` if a signal ended them."""
        scratch = Path(self.place.out) / ".tune"
        try:
            with self._signals.held():  # Tune stops its trials, then ends
                return run_tune(trials, plan, self.place, self.trials_in_flight, scratch, watch, self._check_run)
        except _StoppedError:
            return None
        except _LostError:
            self._check()
            raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _check_run(self) -> None:
        """End Tune's loop by raising: Tune stops its trials at an Exception, but lets a BaseException pass."""
        if self._cluster is not None and self._cluster.lost is not None:
            raise _LostError
        if self._signals.happened:
            raise _StoppedError
        check_folder(Path(self.place.out))

    def close(self) -> None:
        """Kill the evaluators, so that a cluster that outlives the study gets its GPUs back at once."""
        import ray

        if not self.actors or (self._cluster is not None and self._cluster.lost is not None):
            return
        from raprune.engine.cache.shared import remove_folder

        asked = [actor.let_go.remote() for actor in self.actors]
        ray.wait(asked, num_returns=len(asked), timeout=LET_GO_S)
        for actor in [*self.actors, *[self._counter] * (self._counter is not None)]:
            ray.kill(actor)
        self.actors = []
        RayBackend(self.namespace).forget()
        remove_folder(self.namespace, LET_GO_S)


class _StoppedError(Exception):
    """A signal came while Tune ran."""


class _LostError(BaseException):
    """The cluster was lost while Tune ran. Not an Exception, at which Tune would call the cluster once more."""
