"""Runs a study round by round, and makes known what a round adds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from raprune.launch.base import Runner, Watch
from raprune.launch.found import set_damaged_rows_aside
from raprune.launch.interruption import Interruption
from raprune.launch.manifest import write_manifest
from raprune.launch.rounds import Paces, Rounds
from raprune.launch.spending import is_left
from raprune.results import TrialStore
from raprune.study import StudyPlan, TrialSpec
from raprune.system.store import bring, deliver, publish
from raprune.trial.budget import Account


class Steps:
    """The rounds of one run of a study."""

    def __init__(self, rounds: Rounds, todo: set[str], account: Account | None, out: Path, watch: Watch) -> None:
        """``todo``: those of the trials known before this run that it is to run."""
        self._rounds, self._todo, self._out, self._watch = rounds, todo, out, watch
        self._spent = account is not None and account.is_spent
        self._known = {trial.trial_id for trial in rounds.plan.trials}
        self._begun: set[str] = set()

    def next(self) -> Sequence[TrialSpec]:
        """The trials of the next round that are to run. Nothing is suggested where the budget was spent before."""
        if self._spent and not self._todo:
            return []
        before = len(self._rounds.plan.trials)
        wave = self._rounds.next(self._is_left)
        if len(self._rounds.plan.trials) > before or (wave and wave[0].trial_id not in self._known):
            write_manifest(self._rounds.plan, self._out)
            self._watch.planned(self._rounds.plan)
        self._forget_rows([trial for trial in wave if trial.trial_id not in self._known])
        self._todo -= {trial.trial_id for trial in wave}
        self._begun |= {trial.trial_id for trial in wave}
        return wave

    def _is_left(self, trial: TrialSpec) -> bool:
        if trial.trial_id in self._known:
            return trial.trial_id in self._todo
        if trial.trial_id in self._begun:  # suggested twice, and failed: it runs again with the next command
            return False
        store = self._store(trial)
        set_damaged_rows_aside([store], self._watch.phase)
        return is_left(self._rounds.plan, store)

    def _forget_rows(self, suggested: Sequence[TrialSpec]) -> None:
        """Remove the rows that an earlier search left of trials that failed or were stopped: they run again."""
        stores = [self._store(trial) for trial in suggested]
        left = [store for store in stores if store.status() is not None]
        for store in left:
            store.forget_row()
        if left:
            publish(self._out)
            deliver(self._out)  # a trial's process on another node must not find a row that is gone

    def _store(self, trial: TrialSpec) -> TrialStore:
        return TrialStore(self._out, trial.study, trial.trial_id)

    def run(self, wave: Sequence[TrialSpec], runner: Runner, interruption: Interruption) -> None:
        """Run ``wave``, then the rounds after it, until one does not end."""
        watch = self._watch if runner.place.pool is None else _metered(self._watch, self._rounds.plan)
        paces = Paces(self._rounds.plan.spec.scheduler, self._store)
        while wave and not interruption.happened:
            runner.place = replace(runner.place, pace=paces.of(self._rounds.earlier()))
            watch.phase("")
            runner.run(wave, self._rounds.plan, watch)
            bring(self._out)  # what trials on other nodes sent
            if any(self._store(trial).status() != "failed" and not self._store(trial).has_ended() for trial in wave):
                return
            wave = self.next()


def _metered(watch: Watch, plan: StudyPlan) -> Watch:
    from raprune.launch.metrics import Metered, dashboard_address

    if plan.spec.evaluators.dashboard and (address := dashboard_address()):
        watch.note(f"Ray's dashboard: {address}")
    return Metered(watch, plan.spec.name)
