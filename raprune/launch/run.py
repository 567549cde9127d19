"""Runs a study from its plan to its rows: baselines first, then the searched trials, then those matched to them."""

from __future__ import annotations

import contextlib
import platform
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from raprune import __version__
from raprune.artefact.keeping import thin_out
from raprune.baseline.resuming import check_results, check_trials
from raprune.engine.inputs import Inputs, using
from raprune.launch.base import Launch, Runner, Watch
from raprune.launch.cluster import refuse_temporary, usual_address
from raprune.launch.execute import MANIFEST, check_folder
from raprune.launch.found import refuse_another, set_damaged_rows_aside
from raprune.launch.in_process import InProcessRunner
from raprune.launch.interruption import Interruption
from raprune.launch.spending import RunClock, left_to_run, open_account
from raprune.launch.tracking import tracked
from raprune.launch.watching import ClusterLostError
from raprune.results import SCHEMA_VERSION, FolderLock, TrialStore, write_json, write_text
from raprune.study import StudyPlan, TrialSpec
from raprune.study.wording import counted
from raprune.system.paths import PACKAGE
from raprune.system.store import Driving, bring, deliver, publish
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

    @property
    def exit_code(self) -> int:
        if self.interrupted:
            return 130
        if self.lost is not None:
            return 1
        good = ("completed",) if self.budget is None else ("completed", "stopped")
        return 0 if all(status in good for status in self.statuses.values()) else 1

    def summary(self) -> str:
        """``18 completed, 2 failed``."""
        return ", ".join(f"{number} {status}" for status, number in sorted(Counter(self.statuses.values()).items()))


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
        inputs.read_as(plan.spec.data)
        inputs.import_for(part.name for trial in plan.trials for part in (trial.model, trial.dataset, trial.score))
        refuse_another(plan.spec.name, out, watch.phase)
        stores = {trial.trial_id: TrialStore(out, plan.spec.name, trial.trial_id) for trial in plan.trials}
        set_damaged_rows_aside(stores.values(), watch.phase)
        check_results(plan.trials, out, inputs)
        _write_manifest(plan, out)
        todo = left_to_run(plan, stores, open_account(plan, stores, clock))
        for trial in todo:
            stores[trial.trial_id].forget_row()
        publish(out)
        deliver(out)  # a trial's process on another node must not find a row that is gone
        account = open_account(plan, stores, clock)
        try:
            with interruption.stoppable():
                if todo:
                    count = plan.spec.evaluators.count if num_evaluators is None else num_evaluators
                    launch = Launch(plan, out, todo, count, address or usual_address(), account, inputs)
                    with _runner(launch, watch, interruption) as runner:
                        watch.phase("preparing the baseline")
                        runner.prepare(todo)
                        check_trials(plan.trials, out)
                        _run_waves(runner, todo, plan, watch, interruption)
        except ClusterLostError as error:
            lost = str(error)
        check_folder(out)
        bring(out)  # a trial that ended on a node that was lost since
        statuses = _settle(plan, stores)
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
    unfinished = any(status == "stopped" for status in statuses.values())
    spent = unfinished and account is not None and account.is_spent
    interrupted = signalled or (unfinished and not spent and lost is None)
    if not unfinished and not interrupted:
        gone = thin_out(list(stores.values()), plan.spec.keep_models)
        if gone:
            networks = counted(len(gone), "network")
            watch.phase(f"keep_models {plan.spec.keep_models}: {networks} removed, all rows kept")
    budget = str(plan.spec.budget) if spent and not interrupted else None
    return Outcome(statuses, interrupted, budget, None if interrupted else lost)


def _run_waves(
    runner: Runner, todo: Sequence[TrialSpec], plan: StudyPlan, watch: Watch, interruption: Interruption
) -> None:
    """Run the searched trials, then the matched ones, which need their decisions."""
    for wave in ([t for t in todo if not t.matched_trial_id], [t for t in todo if t.matched_trial_id]):
        if wave and not interruption.happened:
            watch.phase("")
            runner.run(wave, plan, watch)
            bring(Path(runner.place.out))  # what trials on other nodes sent
            if any(runner.place.store(trial).status() not in ("completed", "failed") for trial in wave):
                return


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


def _write_manifest(plan: StudyPlan, out: Path) -> None:
    write_text(out / "study.yaml", plan.text)
    write_json(
        out / MANIFEST,
        {
            "study": plan.spec.name,
            "rehearses": plan.document.rehearses,
            "description": plan.spec.description,
            "preset": plan.spec.preset,
            "schema_version": SCHEMA_VERSION,
            "trial_ids": [trial.trial_id for trial in plan.trials],
            "axes": {trial_id: dict(axes) for trial_id, axes in plan.axes.items()},
            "raprune": __version__,
            "commit": _commit(),
            "python": platform.python_version(),
            "packages": _versions(),
            "host": socket.gethostname(),
            "platform": platform.platform(),
            "command": sys.argv,
        },
    )


def _versions() -> dict[str, str]:
    """Versions of the installed packages; a study in one process runs without Ray."""
    from importlib.metadata import PackageNotFoundError, version

    versions = {}
    for name in ("torch", "torchvision", "ray", "numpy", "pandas", "pyarrow"):
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def _commit() -> str | None:
    """The commit of the source checkout, if this is one."""
    try:
        head = subprocess.run(
            ["git", "-C", str(PACKAGE), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return head.stdout.strip() or None
