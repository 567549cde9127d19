"""A study as a process of its own, and the processes that belong to it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from benchmarks.chaos.counted import LOG

ROOT = Path(__file__).resolve().parents[2]
WORDS = {"trial": "ImplicitFunc", "evaluator": "EvaluatorProcess", "raylet": "raylet/raylet", "GCS": "gcs/gcs_server"}
"""Kind of process -> what its command line contains."""
APPEARS_S = 600.0


def command_of(file: Path, out: Path, *arguments: str) -> list[str]:
    """The command line that runs a study."""
    main = [sys.executable, "-c", "from raprune.cli import main; main()"]
    return [*main, "study", str(file), "--out", str(out), *arguments]


class Study:
    """A run of the command line, in a process group of its own."""

    def __init__(self, file: Path, out: Path, log: Path, *arguments: str) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        environment |= {"PYTHONPATH": str(ROOT), LOG: str(log), "OMP_NUM_THREADS": "1"}
        self._output = log.with_suffix(".out").open("w+")
        self.process = subprocess.Popen(
            command_of(file, out, *arguments), stdout=self._output, stderr=subprocess.STDOUT, env=environment, cwd=ROOT,
            start_new_session=True,
        )  # fmt: skip
        self._seen: dict[int, psutil.Process] = {}

    def processes(self, kind: str) -> list[psutil.Process]:
        """The study's living processes of a kind, oldest first."""
        if kind == "driver":
            return [psutil.Process(self.process.pid)]
        found = []
        for child in self._children():
            with contextlib.suppress(psutil.Error):
                if WORDS[kind] in " ".join(child.cmdline()) and child.status() != psutil.STATUS_ZOMBIE:
                    found.append(child)
        return sorted(found, key=lambda process: process.pid)

    def _children(self) -> list[psutil.Process]:
        try:
            children = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.Error:
            children = []
        self._seen |= {child.pid: child for child in children}
        return children

    def strike(self, kind: str, number: int, sent: signal.Signals) -> int:
        """Send a signal to one process of a kind, once there is one; returns its id, or 0 if the study ended first."""
        end = time.monotonic() + APPEARS_S
        while self.process.poll() is None:
            if found := self.processes(kind):
                victim = found[number % len(found)]
                victim.send_signal(sent)
                return victim.pid
            if time.monotonic() > end:
                raise TimeoutError(f"the study has no {kind}")
            time.sleep(0.02)
        return 0

    def wait(self, done: Callable[[], bool], limit_s: float) -> bool:
        """Wait until ``done``; returns whether the study still runs. Raises TimeoutError."""
        end = time.monotonic() + limit_s
        while self.process.poll() is None and not done():
            if time.monotonic() > end:
                raise TimeoutError(f"the study was not done in {limit_s:.0f} s:\n{self.text()}")
            time.sleep(0.02)
        return self.process.poll() is None

    def ended(self, limit_s: float) -> int:
        """The exit code."""
        return self.process.wait(limit_s)

    def text(self) -> str:
        """What it printed."""
        self._output.flush()
        return Path(self._output.name).read_text(errors="replace")

    def clear(self) -> None:
        """Kill what is left of it, also what a killed parent left behind."""
        self._children()
        for process in [*self._seen.values(), *_living(self.process.pid)]:
            with contextlib.suppress(psutil.Error):
                process.kill()
        self._output.close()


def _living(pid: int) -> list[psutil.Process]:
    return [psutil.Process(pid)] if psutil.pid_exists(pid) else []
