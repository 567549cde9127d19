"""Runs a study from its plan to its rows: baselines first, then the searched trials, then those matched to them."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from raprune.artefact.keeping import thin_out
from raprune.baseline.resuming import check_results, check_trials
from raprune.engine.inputs import Inputs, using
from raprune.engine.training_file import forget_trainings
from raprune.launch.base import Launch, Runner, Watch
from raprune.launch.cluster import refuse_temporary, usual_address
from raprune.launch.execute import check_folder
from raprune.launch.found import refuse_another, set_damaged_rows_aside
from raprune.launch.in_process import InProcessRunner
from raprune.launch.interruption import Interruption
from raprune.launch.manifest import write_manifest
from raprune.launch.rounds import rounds_of
from raprune.launch.spending import RunClock, left_to_run, open_account
from raprune.launch.steps import Steps
from raprune.launch.tracking import tracked
from raprune.launch.watching import ClusterLostError
from raprune.results import FolderLock, TrialStore
from raprune.study import StudyPlan
from raprune.study.wording import counted
from raprune.system.store import Driving, bring, deliver, publish
from raprune.system.telling import telling
from raprune.trial.rows import unfinished_row


@dataclass(frozen=True)
class Outcome:
    """How a study ended."""

    statuses: dict[str, str]
    """trial_id -> completed, failed or stopped."""
    interrupted: bool
    budget: str | None = None
    """The budget that ended the study, as text."""
    lost: str | None = None
    """Why the cluster on which it ran was lost."""
    dominated: frozenset[str] = frozenset()
    """Trials that the scheduler stopped."""

    @property
    def exit_code(self) -> int:
        if self.interrupted:
            return 130
        if self.lost is not None:
            return 1
        good = ("completed",) if self.budget is None else ("completed", "stopped")
        return 0 if all(status in good or name in self.dominated for name, status in self.statuses.items()) else 1

    def summary(self) -> str:
        """``18 completed, 2 failed, 3 dominated``."""
        seen = ("dominated" if name in self.dominated else status for name, status in self.statuses.items())
        return ", ".join(f"{number} {status}" for status, number in sorted(Counter(seen).items()))


def run_study(
    plan: StudyPlan,
    out: Path,
    watch: Watch,
    *,
    num_evaluators: int | None = None,
    address: str | None = None,
    inputs: Inputs | None = None,
) -> Outcome:
    """Run (or resume) a study in the folder ``out``.

    ``num_evaluators`` overrides the study's; 0 runs in this process without Ray. ``address`` joins a running Ray
    cluster; without it, a study in a Ray job joins that job's cluster. ``inputs`` hold a program's own network and
    data, and data already decoded for this run; without them everything is read anew. Raises :class:`InputError`
    before any trial if the study cannot be run here.
    """
    interruption, lost = Interruption(), None
    refuse_temporary(out)
    with contextlib.ExitStack() as held:
        held.enter_context(interruption.guard())
        held.enter_context(FolderLock(out))
        held.enter_context(Driving(out, watch.phase))
        inputs, clock = held.enter_context(using(inputs)), held.enter_context(RunClock(out, watch.phase))
        watch = held.enter_context(tracked(watch, plan, out))
        held.enter_context(telling(watch.note))
        inputs.read_as(plan.spec.data)
        inputs.import_for(part.name for trial in plan.trials for part in (trial.model, trial.dataset, trial.score))
        refuse_another(plan.spec.name, out, watch.phase)
        rounds = rounds_of(plan, out, watch.note)
        plan = rounds.plan
        watch.planned(plan)
        stores = _stores(plan, out)
        set_damaged_rows_aside(stores.values(), watch.phase)
        check_results(plan.trials, out, inputs)
        write_manifest(plan, out)
        todo = left_to_run(plan, stores, open_account(plan, stores, clock))
        for trial in todo:
            stores[trial.trial_id].forget_row()
        publish(out)
        deliver(out)  # a trial's process on another node must not find a row that is gone
        account = open_account(plan, stores, clock)
        steps = Steps(rounds, {trial.trial_id for trial in todo}, account, out, watch)
        try:
            with interruption.stoppable():
                if wave := steps.next():
                    todo, plan = todo or wave, rounds.plan
                    count = plan.spec.evaluators.count if num_evaluators is None else num_evaluators
                    launch = Launch(plan, out, todo, count, address or usual_address(), account, inputs)
                    with _runner(launch, watch, interruption) as runner:
                        watch.phase("preparing the baseline")
                        runner.prepare(todo)
                        check_trials(plan.trials, out)
                        steps.run(wave, runner, interruption)
        except ClusterLostError as error:
            lost = str(error)
        check_folder(out)
        bring(out)  # a trial that ended on a node that was lost since
        plan = rounds.plan
        stores = _stores(plan, out)
        statuses = _settle(plan, stores)
        if set(statuses.values()) == {"completed"}:
            forget_trainings(out)
        return _outcome(plan, stores, statuses, clock, watch, interruption.happened, lost)


def _outcome(
    plan: StudyPlan,
    stores: dict[str, TrialStore],
    statuses: dict[str, str],
    clock: RunClock,
    watch: Watch,
    signalled: bool,
    lost: str | None,
) -> Outcome:
    """How the study ended; removes the networks that a completed study does not keep."""
    account = open_account(plan, stores, clock)
    dominated = {name for name, store in stores.items() if plan.spec.scheduler is not None and store.is_dominated()}
    unfinished = any(status == "stopped" for name, status in statuses.items() if name not in dominated)
    spent = unfinished and account is not None and account.is_spent
    interrupted = signalled or (unfinished and not spent and lost is None)
    if not unfinished and not interrupted:
        gone = thin_out(list(stores.values()), plan.spec.keep_models)
        if gone:
            networks = counted(len(gone), "network")
            watch.phase(f"keep_models {plan.spec.keep_models}: {networks} removed, all rows kept")
    budget = str(plan.spec.budget) if spent and not interrupted else None
    return Outcome(statuses, interrupted, budget, None if interrupted else lost, frozenset(dominated))


@contextlib.contextmanager
def _runner(launch: Launch, watch: Watch, interruption: Interruption) -> Iterator[Runner]:
    if launch.count == 0 or (launch.plan.spec.evaluators.device == "mps" and launch.address is None):
        runner = InProcessRunner(launch.plan, launch.out, launch.inputs, launch.account)
        with contextlib.closing(runner.engines):
            watch.evaluators(f"candidates are scored in this process, on {runner.place.device}")
            yield runner
        return
    from raprune.launch.on_ray import ray_runner

    with ray_runner(launch, watch, interruption) as on_ray:
        yield on_ray


def _settle(plan: StudyPlan, stores: dict[str, TrialStore]) -> dict[str, str]:
    """Write a row for every trial without one, which was stopped; returns the status of every trial."""
    statuses = {}
    for trial in plan.trials:
        store = stores[trial.trial_id]
        status = store.status()
        if status is None:
            status = "stopped"
            store.write_trial(unfinished_row(trial, plan.spec.preset, status, None))
        statuses[trial.trial_id] = status
    return statuses


def _stores(plan: StudyPlan, out: Path) -> dict[str, TrialStore]:
    return {trial.trial_id: TrialStore(out, plan.spec.name, trial.trial_id) for trial in plan.trials}
