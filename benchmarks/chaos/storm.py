"""One study under a schedule of blows: the same command is given again until it is done, then its tables are judged."""

from __future__ import annotations

import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.chaos.counted import DELETED, Log, note
from benchmarks.chaos.schedule import SUSPEND, Blow
from benchmarks.chaos.victims import Study
from raprune.evaluators.pulse import START_S

STUDY = """
name: chaos
model: {name: vgg16, width: 0.0625}
dataset: {name: digits, num_val: 200, num_test: 200}
score: {import: "benchmarks.chaos.counted:Counted"}
baseline: {epochs: 2, learning_rate: 0.02, weight_decay: 0.005, batch_size: 16}
finetune: {after_layer: {steps: 4}}
layers: [features.24, features.34, features.40]
scoring: {batch_size: 50}
guard: 0
candidates_per_layer: CANDIDATES
credit: 0
sweep:
  drop_bound: [2.0, 8.0]
  seed: SEEDS
  method:
    - {name: agent, min_updates: UPDATES, max_updates: UPDATES}
    - magnitude
    - {name: random, match: agent}
"""
STEP_S = START_S + 600.0
"""The longest that a study may take from one blow to the next, or to its end: a trial may take START_S to begin."""
RESUMED_AFTER_S = 5.0
"""Seconds after which a suspended driver is continued."""


def study(num_seeds: int, num_candidates: int) -> str:
    """The study that is disturbed; the agent learns from half of a layer's candidates."""
    values = {"SEEDS": list(range(num_seeds)), "UPDATES": num_candidates // 10, "CANDIDATES": num_candidates}
    text = STUDY
    for name, value in values.items():
        text = text.replace(name, str(value))
    return text


@dataclass
class Storm:
    """What happened."""

    log: Log
    runs: int = 0
    """How often the command was given."""
    struck: list[str] = field(default_factory=list)
    replaced: list[float] = field(default_factory=list)
    """Seconds until each suspended evaluator or trial was replaced."""
    seconds: float = 0.0
    unclear: list[str] = field(default_factory=list)
    """Runs that ended otherwise than they should have, with what they printed."""


class Disturbed:
    """A study in ``folder``, struck by ``blows`` at their shares of ``total`` candidates."""

    def __init__(self, folder: Path, text: str, blows: Sequence[Blow], total: int) -> None:
        self.file, self.out, self.log = folder / "chaos.yaml", folder / "out", folder / "scored.log"
        folder.mkdir(parents=True, exist_ok=True)
        self.file.write_text(text)
        self.blows, self.total = list(blows), total
        self.storm = Storm(Log(self.log))
        self._evaluators = 2

    def run(self) -> Storm:
        """The study to its end."""
        began = time.monotonic()
        while True:
            study = Study(self.file, self.out, self.log, "--evaluators", str(self._evaluators))
            self.storm.runs += 1
            try:
                if self._is_done(study):
                    break
            finally:
                study.clear()
        self.storm.seconds = time.monotonic() - began
        self.storm.log.look()
        return self.storm

    def _is_done(self, study: Study) -> bool:
        """Strike one run until it ends; returns whether the study is complete."""
        while self.blows:
            blow = self.blows[0]
            if not study.wait(self._has_scored(blow.at * self.total), STEP_S):
                break
            self.blows.pop(0)
            self._strike(study, blow)
            if blow.ends_the_run:
                self._check_end(study, blow)
                self._evaluators = blow.evaluators
                return False
        code = study.ended(STEP_S)
        if code or self.blows:
            self.storm.unclear.append(f"exit code {code}, {len(self.blows)} blows left\n{study.text()}")
        return True

    def _has_scored(self, number: float) -> Callable[[], bool]:
        return lambda: self.storm.log.look().distinct >= number

    def _strike(self, study: Study, blow: Blow) -> None:
        sent = signal.SIGSTOP if blow.signal == SUSPEND else signal.SIGKILL
        if blow.deletes_memo:
            shutil.rmtree(self.out / "memo", ignore_errors=True)
            note(self.log, DELETED)
        pid = study.strike(blow.process, blow.number, sent)
        self.storm.struck.append(f"{blow} (process {pid})")
        print(f"    {time.strftime('%H:%M:%S')} {self.storm.struck[-1]}", file=sys.stderr, flush=True)
        if (blow.signal, blow.process) == (SUSPEND, "driver"):
            time.sleep(RESUMED_AFTER_S)
            study.process.send_signal(signal.SIGCONT)
        elif blow.signal == SUSPEND and not blow.ends_the_run:
            began = time.monotonic()
            if study.wait(lambda: not psutil.pid_exists(pid), STEP_S):
                self.storm.replaced.append(time.monotonic() - began)

    def _check_end(self, study: Study, blow: Blow) -> None:
        """A lost cluster is told in a sentence, and so is one that was lost while it started."""
        code = study.ended(STEP_S)
        text = study.text()
        begun = code == 2 and "Ray cannot be started on this machine: " in text and "Traceback" not in text
        if blow.process == "driver" or begun:
            return
        told = [line for line in text.splitlines() if "the Ray cluster was lost" in line]
        if code != 1 or len(told) != 1 or blow.process not in told[0] or "Traceback" in text:
            self.storm.unclear.append(f"{blow}: exit code {code}\n{text}")
