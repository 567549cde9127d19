"""Ray Tune over the study's axes: schedules trials and passes on their reports."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from raprune.engine.inputs import Inputs
from raprune.evaluators.dispatch import WAY_ON, why_lost
from raprune.evaluators.memo import Memo, writer_name
from raprune.evaluators.pulse import Pulse, Pulses
from raprune.launch.base import Watch
from raprune.launch.counter import find_budget
from raprune.launch.execute import Holdings, Place, execute, write_failed
from raprune.launch.resources import TRIAL_CPUS
from raprune.study import StudyPlan, TrialSpec

REPORT_EVERY_S = 0.5
MAX_LOSSES = 3
"""A trial fails once its process has been lost this many times."""
AXES = ("drop_bound", "order", "method", "seed")
"""Axes that are always search-space keys, so that trackers and the result grid see them."""


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


def run_tune(
    trials: Sequence[TrialSpec],
    plan: StudyPlan,
    place: Place,
    in_flight: int,
    scratch: Path,
    watch: Watch,
    check: Callable[[], None] = lambda: None,
) -> Any:
    """Run ``trials`` under Ray Tune, at most ``in_flight`` at a time; returns Tune's result grid.

    ``check`` is called many times a second; what it raises ends the run. A trial whose process is lost several times
    gets a row that says so.
    """
    from ray import tune

    specs = {trial.trial_id: trial for trial in trials}
    trainable = tune.with_resources(tune.with_parameters(_trainable, specs=specs, place=place), {"cpu": TRIAL_CPUS})
    tuner = tune.Tuner(
        trainable,
        param_space=search_space(trials, plan),
        tune_config=tune.TuneConfig(max_concurrent_trials=in_flight, reuse_actors=True),
        run_config=tune.RunConfig(
            name=plan.spec.name,
            storage_path=str(scratch),
            verbose=0,
            callbacks=[_callback(Watched(watch, place, specs, check))],
            failure_config=tune.FailureConfig(max_failures=MAX_LOSSES - 1),
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
    pulse = Pulse(place.pool.namespace, trial.trial_id)
    try:
        with Inputs(place.import_path) as inputs:
            if place.given is not None:
                place.given.use_networks(inputs)
            holdings = Holdings(inputs, Memo(place.memo_folder, writer_name(ray.get_runtime_context().get_worker_id())))
            status = execute(trial, place, holdings, reporter, find_budget(place.pool, place.has_budget))
    finally:
        pulse.stop()
    tune.report({**reporter.waiting, "raprune_trial_id": trial.trial_id, "status": status})


class _Reporter:
    """Sends progress at most twice a second, with counts summed in between; commits are sent at once."""

    def __init__(self, trial_id: str) -> None:
        self.trial_id = trial_id
        self.waiting: dict[str, Any] = {}
        self._sent = 0.0

    def __call__(self, news: dict[str, Any]) -> None:
        from ray import tune

        for key in {key for key in (*news, *self.waiting) if key.startswith("new_")}:
            news = {**news, key: news.get(key, 0) + self.waiting.get(key, 0)}
        self.waiting = {**self.waiting, **news}
        if "pruning_ratio" in news or "low_rank" in news or time.monotonic() - self._sent > REPORT_EVERY_S:
            tune.report({**self.waiting, "raprune_trial_id": self.trial_id})
            self.waiting, self._sent = {}, time.monotonic()


class Watched:
    """Trials under Tune: shows their reports, kills those that hang, and writes the rows of those that are lost."""

    def __init__(
        self, watch: Watch, place: Place, specs: Mapping[str, TrialSpec], check: Callable[[], None] = lambda: None
    ) -> None:
        assert place.pool is not None
        self.watch = watch
        self.place = place
        self.specs = specs
        self.check = check
        self.pulses = Pulses(place.pool.namespace)

    def look(self, trials: Sequence[Any]) -> None:
        """End the run if ``check`` raises; kill trials' processes without a sign of life, which Tune restarts."""
        import ray

        self.check()
        if not self.pulses.is_due():
            return
        for trial in trials:
            actor, name = trial.temporary_state.ray_actor, trial.config["trial_id"]
            if actor is None or trial.status != "RUNNING":
                continue
            if self.pulses.is_silent(name) and self.pulses.claim(name):
                ray.kill(actor)

    def tell(self, result: Mapping[str, Any]) -> None:
        """Show one of Tune's results."""
        trial_id = result.get("raprune_trial_id")
        if trial_id is None:
            return
        self.watch.told(trial_id, dict(result))
        if "status" in result:
            self.watch.ended(trial_id, result["status"], self.place.store(self.specs[trial_id]).folder)

    def write_lost(self, trial_id: str, error: Exception | None) -> None:
        """Write the row of a trial whose process could not be kept alive."""
        import ray

        where = self.pulses.place(trial_id)
        if isinstance(error, ray.exceptions.RayError) and not isinstance(error, ray.exceptions.RayTaskError):
            at = f" ({where})" if where else ""
            why = f"the trial's process was lost {MAX_LOSSES} times; the last time{at} {why_lost(error)}. {WAY_ON}"
        else:
            why = f"the trial could not be run: {error}"
        trial = self.specs[trial_id]
        write_failed(trial, self.place, why)
        self.watch.ended(trial_id, "failed", self.place.store(trial).folder)


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

        def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            del iteration, trials, info
            watched.write_lost(trial.config["trial_id"], trial.get_pickled_error() or trial.get_error())

    return Callback()
