"""Ray Tune over the study's axes: schedules trials and passes on their reports."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from raprune.engine.inputs import Inputs
from raprune.evaluators.dispatch import WAY_ON
from raprune.evaluators.members import Turn
from raprune.evaluators.memo import Memo, writer_name
from raprune.evaluators.pulse import Pulse, Pulses
from raprune.evaluators.ray_backend import MACHINE_LOST, RayBackend, why_lost
from raprune.launch.base import Watch
from raprune.launch.counter import find_budget
from raprune.launch.execute import Holdings, Place, execute, write_failed
from raprune.launch.hanging import Hanging, Starting
from raprune.launch.in_flight import turn_of
from raprune.launch.losses import MAX_LOSSES, Losses
from raprune.launch.placing import Refusals, check_node, error_of, needs, other_node, scheduler
from raprune.launch.standstill import Standstill
from raprune.study import StudyPlan, TrialSpec

REPORT_EVERY_S, REPORTING = 0.5, 0.05
"""Seconds between two reports of a trial, and the share of its time that it may wait for the driver to take them in."""
AXES = ("drop_bound", "order", "method", "seed")
"""Axes that are always search-space keys, so that trackers and the result grid see them."""

_TURNS: dict[str, Turn] = {}
"""Namespace of a study -> where this process's trials begin in its pool: Tune runs the next trial in the process of one
that ended, whose evaluators have just become free."""
_MEMOS: dict[str, Memo] = {}
"""Namespace of a study -> this process's memo: what one trial has read need not be read by the next."""


def axis_values(trial: TrialSpec, plan: StudyPlan) -> dict[str, Any]:
    """A trial's value on every axis: the four named ones, then the study's own."""
    named = {
        "drop_bound": trial.drop_bound,
        "order": trial.order.name,
        "method": trial.method.name,
        "seed": trial.seed,
    }
    own = {axis: value for axis, value in plan.axes[trial.trial_id].items() if axis not in AXES}
    return named | own


def search_space(trials: Sequence[TrialSpec], plan: StudyPlan) -> dict[str, Any]:
    """One grid search over the trials; every axis is a separate key whose value depends on the trial."""
    from ray import tune

    values = {trial.trial_id: axis_values(trial, plan) for trial in trials}
    axes = list(dict.fromkeys(axis for of_trial in values.values() for axis in of_trial))

    def follow(axis: str) -> Any:
        return tune.sample_from(lambda config: values[config["trial_id"]].get(axis))

    return {"trial_id": tune.grid_search(list(values)), **{axis: follow(axis) for axis in axes}}


class Steering(Refusals, Protocol):
    """What decides how a run goes on while Tune runs it."""

    def check(self) -> None:
        """Called many times a second; what it raises ends the run."""

    def in_flight(self) -> int:
        """Trials to run at once."""

    def ended(self, trial_id: str) -> None:
        """A trial has ended."""


def run_tune(
    trials: Sequence[TrialSpec], plan: StudyPlan, place: Place, scratch: Path, watch: Watch, steering: Steering
) -> Any:
    """Run ``trials`` under Ray Tune; returns Tune's result grid.

    A trial whose process is lost several times without getting further gets a row that says so.
    """
    from ray import tune
    from ray.tune.search.basic_variant import BasicVariantGenerator

    specs = {trial.trial_id: trial for trial in trials}
    labels = steering.trial_labels()
    trainable = tune.with_resources(tune.with_parameters(_trainable, specs=specs, place=place), needs(labels))
    grid = BasicVariantGenerator(max_concurrent=steering.in_flight())
    tuner = tune.Tuner(
        trainable,
        param_space=search_space(trials, plan),
        tune_config=tune.TuneConfig(search_alg=grid, scheduler=scheduler(steering, watch.note), reuse_actors=True),
        run_config=tune.RunConfig(
            name=plan.spec.name,
            storage_path=str(scratch),
            verbose=0,
            callbacks=[_callback(Watched(watch, place, specs, steering, grid, labels))],
            failure_config=tune.FailureConfig(max_failures=-1),  # counted here
        ),
    )
    with _environment(TUNE_DISABLE_SIGINT_HANDLER="1"):  # signals are the study's own
        return tuner.fit()


@contextlib.contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _trainable(config: dict[str, Any], *, specs: dict[str, TrialSpec], place: Place) -> None:
    """Run one trial in a Tune process, which never uses a GPU."""
    import ray
    from ray import tune

    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    trial = specs[config["trial_id"]]
    reporter = _Reporter(trial.trial_id)
    assert place.pool is not None
    turn = _TURNS.setdefault(place.pool.namespace, turn_of(trial, list(specs), place.device_type))
    pool = replace(place.pool, turn=turn)
    place = replace(place, pool=pool)
    pulse = Pulse(pool.connect(), trial.trial_id)
    try:
        with Inputs(place.import_path) as inputs:
            if place.given is not None:
                check_node(place.given)
                place.given.use_networks(inputs)
            writer = writer_name(ray.get_runtime_context().get_worker_id())
            memo = _MEMOS.setdefault(pool.namespace, Memo(place.memo_folder, writer))
            holdings = Holdings(inputs, memo)
            status = execute(trial, place, holdings, reporter, find_budget(pool, place.has_budget))
    finally:
        pulse.stop()
    tune.report({**reporter.waiting, "raprune_trial_id": trial.trial_id, "status": status})


class Pace:
    """When a trial reports: more seldom where the driver has many trials to listen to, because each waits for it."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._next = float("-inf")

    def is_due(self) -> bool:
        return self._now() > self._next

    @contextlib.contextmanager
    def reporting(self) -> Iterator[None]:
        """The block waits for the driver."""
        began = self._now()
        yield
        ended = self._now()
        self._next = ended + max(REPORT_EVERY_S, (ended - began) / REPORTING)


class _Reporter:
    """Sends progress when it is due, with counts summed in between; commits are sent at once."""

    def __init__(self, trial_id: str) -> None:
        self.trial_id = trial_id
        self.waiting: dict[str, Any] = {}
        self._pace = Pace()

    def __call__(self, news: dict[str, Any]) -> None:
        from ray import tune

        for key in {key for key in (*news, *self.waiting) if key.startswith("new_")}:
            news = {**news, key: news.get(key, 0) + self.waiting.get(key, 0)}
        self.waiting = {**self.waiting, **news}
        if "pruning_ratio" in news or "low_rank" in news or self._pace.is_due():
            with self._pace.reporting():
                tune.report({**self.waiting, "raprune_trial_id": self.trial_id})
            self.waiting = {}


class Watched:
    """Trials under Tune: shows their reports, kills those that hang, and writes the rows of those that are lost."""

    def __init__(
        self,
        watch: Watch,
        place: Place,
        specs: Mapping[str, TrialSpec],
        steering: Steering,
        grid: Any,
        labels: Mapping[str, str],
    ) -> None:
        """``grid``: Tune's own list of trials, which knows how many run at once. ``labels``: where they run."""
        assert place.pool is not None
        backend = place.pool.connect()
        self.watch = watch
        self.place = place
        self.specs = specs
        self.steering = steering
        self.grid = grid
        self.losses = Losses()
        self.pulses = Pulses(backend)
        self._hanging, self._starting = Hanging(self.pulses), Starting(RayBackend(place.pool.namespace))
        self._standstill = Standstill(backend, labels, watch.note)

    def look(self, trials: Sequence[Any]) -> None:
        """End the run if ``check`` raises; kill trials' processes without a sign of life, which Tune restarts."""
        import ray

        self.steering.check()
        self.grid.max_concurrent = self.steering.in_flight()
        self._standstill.see([trial.status for trial in trials])
        self._starting.see()
        actors = {
            trial.config["trial_id"]: trial.temporary_state.ray_actor for trial in trials if trial.status == "RUNNING"
        }
        running = {name: actor for name, actor in actors.items() if actor is not None}
        for name in self._hanging.among(running):
            ray.kill(running[name])

    def tell(self, result: Mapping[str, Any]) -> None:
        """Show one of Tune's results."""
        trial_id = result.get("raprune_trial_id")
        if trial_id is None:
            return
        self.watch.told(trial_id, dict(result))
        self.losses.told(trial_id, result)
        if "status" in result:
            self._ended(trial_id, result["status"])

    def _ended(self, trial_id: str, status: str) -> None:
        self.steering.ended(trial_id)
        self.watch.ended(trial_id, status, self.place.store(self.specs[trial_id]).folder)

    def lost(self, trial: Any) -> None:
        """Count a loss after which Tune starts the trial again, but for its machine's fault; end it after several."""
        trial_id, error = trial.config["trial_id"], error_of(trial)
        if error is not None and (why_lost(error) == MACHINE_LOST or other_node(error) is not None):
            return
        if self.losses.count(trial_id):
            trial.max_failures = 0  # it starts once more, to find its row and end
            self.write_lost(trial_id, error)

    def write_lost(self, trial_id: str, error: Exception | None) -> None:
        """Write the row of a trial whose process could not be kept alive."""
        import ray

        if self.place.store(self.specs[trial_id]).status() is not None:
            return
        where = self.pulses.place(trial_id)
        if isinstance(error, ray.exceptions.RayError) and not isinstance(error, ray.exceptions.RayTaskError):
            at = f" ({where})" if where else ""
            why = f"the trial's process was lost {MAX_LOSSES} times; the last time{at} {why_lost(error)}. {WAY_ON}"
        else:
            why = f"the trial could not be run: {error}"
        trial = self.specs[trial_id]
        write_failed(trial, self.place, why)
        self._ended(trial_id, "failed")


def _callback(watched: Watched) -> Any:
    from ray import tune

    class Callback(tune.Callback):  # type: ignore[misc]
        def __reduce__(self) -> Any:
            return tune.Callback, ()  # Tune writes its callbacks to disk, where this one is useless

        def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
            del iteration, info
            watched.look(trials)

        def on_trial_result(
            self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
        ) -> None:
            del iteration, trials, trial, info
            watched.tell(result)

        def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            del iteration, trials, info
            watched.lost(trial)

        def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            del iteration, trials, info
            watched.write_lost(trial.config["trial_id"], error_of(trial) or trial.get_error())

    return Callback()
