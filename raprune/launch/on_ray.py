"""On Ray: a cluster, a pool of evaluators in it, and Ray Tune over the study's axes.

Measured on Ray 2.60. The pool exists before Tune's ``fit``, is owned by this process and found by name; a trial is a
thin process that reserves a twentieth of a core. Tune schedules trials and feeds the display; results are kept in
Parquet. Each run creates a new Tuner, in which completed trials return at once.
"""

from __future__ import annotations

import contextlib
import shutil
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from raprune.engine.arithmetic import check_precisions
from raprune.evaluators.backend import Actor, Node, Ref
from raprune.evaluators.base import PoolAddress
from raprune.evaluators.dispatch import Call, Dispatcher
from raprune.evaluators.notices import Notices
from raprune.evaluators.pulse import Pulses
from raprune.evaluators.ray_backend import RayBackend
from raprune.evaluators.roster import Roster
from raprune.evaluators.sharing import data_bytes, pack, share_given
from raprune.launch.base import Launch, Watch
from raprune.launch.cluster import connect
from raprune.launch.counter import start_counter
from raprune.launch.execute import MANIFEST, Place, check_folder
from raprune.launch.in_flight import short_rounds, trials_in_flight, useful_evaluators
from raprune.launch.interruption import Interruption
from raprune.launch.keeper import Keeper
from raprune.launch.metrics import Gauged
from raprune.launch.nodes import NodeCheck, named_modules
from raprune.launch.placing import off
from raprune.launch.resources import Resources, remarks, resources_for, trial_labels
from raprune.launch.tuning import run_tune
from raprune.launch.watching import ClusterWatch
from raprune.study import StudyPlan, TrialSpec
from raprune.study.parts import DataSpec
from raprune.study.wording import counted
from raprune.system.store import is_mirrored

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
        joined = RayBackend(namespace)
        nodes = joined.nodes()
        check = _checked(nodes, launch, watch) if connection.has_other_nodes else None
        resources = resources_for(nodes, plan.spec.evaluators, count, threads)
        check_precisions(plan.precisions, resources.device)
        for remark in remarks(nodes, joined.here(), resources):
            watch.note(remark)
        runner = RayRunner(launch, resources, namespace, watch, connection.import_path)
        runner.node_check = check
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


def _checked(nodes: Sequence[Node], launch: Launch, watch: Watch) -> NodeCheck:
    """Compare the cluster's nodes with this process. Raises :class:`InputError` if one of them cannot be used."""
    probe = None if is_mirrored(launch.out) else launch.out / MANIFEST
    check = NodeCheck(named_modules(launch.plan.trials), probe)
    watch.phase(f"checking {counted(len(nodes), 'node')}")
    check.check([node.id for node in nodes], watch.note)
    return check


class RayRunner:
    """A pool of evaluators, and trials under Ray Tune."""

    def __init__(
        self,
        launch: Launch,
        resources: Resources,
        namespace: str,
        watch: Watch,
        import_path: tuple[str, ...] = (),
    ) -> None:
        self.watch = watch
        self.inputs = launch.inputs
        self._spec = launch.plan.spec
        self.resources = resources
        self.namespace = namespace
        self.backend = RayBackend(namespace, self._make)
        self.keeper = Keeper(self.backend, resources, watch.evaluators, self._useful if resources.follows else None)
        self._notices = Notices(self.backend)
        self._gauged = Gauged(launch.plan.spec.name)
        self.node_check: NodeCheck | None = None
        self._refused = self.keeper.refused
        self._left = {trial.trial_id: trial for trial in launch.todo}
        self._shared = b""
        self.account = launch.account
        self._counter: Any = None
        self._cluster: ClusterWatch | None = None
        self._signals = Interruption()
        self.place = Place(
            str(launch.out.resolve()),
            launch.plan.spec.preset,
            launch.plan.spec.evaluators.model_copy(update={"device": resources.device}),
            resources.num_evaluators,
            resources.device,
            None,
            import_path,
            has_budget=launch.account is not None,
        )

    def watch_over(self, cluster: ClusterWatch, signals: Interruption) -> None:
        """Make every wait from now on end when the cluster is lost."""
        self._cluster, self._signals = cluster, signals

    def _check_cluster(self) -> None:
        if self._cluster is not None:
            self._cluster.check()

    def _check(self) -> None:
        """What every wait of the driver does: notice a lost cluster, and keep the pool."""
        self._check_cluster()
        self._keep()

    def _keep(self) -> None:
        self.keeper.look()
        self._gauged.follow(len(self.keeper.at_work))
        self._tell()

    def _tell(self, *, at_once: bool = False) -> None:
        """Pass on what the evaluators have to say."""
        for text in self._notices.new(at_once=at_once):
            self.watch.note(text)

    def prepare(self, trials: Sequence[TrialSpec]) -> None:
        """Share the data, start the pool, and have its evaluators train or load and measure the baselines."""
        given = share_given(trials, self.inputs)
        if self.node_check is not None:
            given = replace(given, check_node=self.node_check.of_this_node)
        self._shared = pack(given)
        self.place = replace(self.place, given=given, pool=PoolAddress(self.namespace))
        self.keeper.begin(self._check_cluster)
        self.place = replace(self.place, num_evaluators=len(self.keeper.serving))
        if said := short_rounds(self._spec, trials, len(self.keeper.serving), self.resources.device):
            self.watch.note(said)
        if self.account is not None:
            self._counter = start_counter(self.account, self.namespace)
        distinct = list({trial.baseline_key: trial for trial in trials}.values())
        pool = Dispatcher({}, self.backend, roster=Roster(self.backend), pulses=Pulses(self.backend), check=self._check)

        def submit(actor: Actor, items: list[Any]) -> Ref:
            baselines = [(trial, self.place.baseline_folder(trial)) for trial in items]
            return self.backend.call(actor, "prepare", baselines)

        pool.run([Call([trial], [index]) for index, trial in enumerate(distinct)], submit, "preparing the baseline")
        first = self.place.workload(distinct[0])
        self.keeper.greet(first)
        loaded = Call([first], [0])
        pool.run([loaded], lambda actor, items: self.backend.call(actor, "join", *items), "loading the network")

    def _make(self, name: str) -> Actor:
        """Start an evaluator."""
        import ray

        from raprune.evaluators.ray_pool import EvaluatorProcess

        options = self.resources.options | {"name": name, "namespace": self.namespace}
        options |= {"label_selector": off(self.keeper.avoided)} if self.keeper.avoided else {}
        place, device, data = self.place, self.resources.device, self._held()
        return (
            ray.remote(EvaluatorProcess)
            .options(**options, max_restarts=-1, max_task_retries=0)
            .remote(name, place.evaluators, device, place.import_path, self.namespace, data, self._shared)
        )

    def _held(self) -> DataSpec:
        """How each evaluator holds images: the cluster's processors decode, divided among the evaluators."""
        if self._spec.data.workers != "auto":
            return self._spec.data
        cpus = sum(node.resources.get("CPU", 0.0) for node in self.backend.nodes())
        return self._spec.data.model_copy(update={"workers": max(1, int(cpus) // self.resources.num_evaluators)})

    def run(self, trials: Sequence[TrialSpec], plan: StudyPlan, watch: Watch) -> Any:
        """Run trials; returns Tune's result grid, or ``None`` if a signal ended them."""
        scratch = Path(self.place.out) / ".tune"
        self._left |= {trial.trial_id: trial for trial in trials}  # a search suggests some while it runs
        try:
            with self._signals.held():  # Tune stops its trials, then ends
                return run_tune(trials, plan, self.place, scratch, watch, self)
        except _StoppedError:
            return None
        except _LostError:
            self._check_cluster()
            raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def check(self) -> None:
        """End Tune's loop by raising: Tune stops its trials at an Exception, but lets a BaseException pass."""
        if self._cluster is not None and self._cluster.lost is not None:
            raise _LostError
        if self._signals.happened:
            raise _StoppedError
        check_folder(Path(self.place.out))
        self._keep()

    def ended(self, trial_id: str) -> None:
        """Note that a trial has ended: what is left may need fewer evaluators."""
        self._left.pop(trial_id, None)

    def in_flight(self) -> int:
        """Trials to run at once, with the evaluators that there are now."""
        return trials_in_flight(self._left.values(), len(self.keeper.serving), self.resources.device)

    def trial_labels(self) -> dict[str, str]:
        """The labels of machines on which trials run."""
        return trial_labels(self.backend.nodes()) | off(self._refused)

    def refuse(self, node: str) -> bool:
        """Use a node no more, by Ray's id of it; returns whether it was not refused before."""
        is_news = node not in self._refused
        self._refused.add(node)
        return is_news

    def _useful(self) -> int:
        """Evaluators that all trials together can use."""
        return useful_evaluators(self._left.values(), self.resources.device)

    def close(self) -> None:
        """Kill the evaluators, so that a cluster that outlives the study gets its GPUs back at once."""
        import ray

        if self._cluster is not None and self._cluster.lost is not None:
            return
        from raprune.engine.cache.shared import remove_folder

        self._tell(at_once=True)
        self.keeper.close(LET_GO_S)
        if self._counter is not None:
            ray.kill(self._counter)
        self.backend.forget()
        remove_folder(self.namespace, LET_GO_S)
        self._gauged.follow(0)  # this process may go on, and would say for ever how many there were


class _StoppedError(Exception):
    """A signal came while Tune ran."""


class _LostError(BaseException):
    """The cluster was lost while Tune ran. Not an Exception, at which Tune would call the cluster once more."""
