"""An actor that dies where its folder says so, and beats; in a file of its own, so that its process starts at once."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from raprune.evaluators import pulse
from raprune.evaluators.pulse import Pulse
from raprune.evaluators.ray_backend import RayBackend


class Worker:
    """Doubles numbers."""

    def __init__(self, namespace: str, name: str, folder: str) -> None:
        if (Path(folder) / f"{name} cannot start").exists():
            raise OSError("no space left on device")
        pulse.BEAT_S = 0.5
        self.pulse = Pulse(RayBackend(namespace), name)
        self.name, self.folder = name, Path(folder)

    def ping(self) -> list[str]:
        return [self.name]

    def double(self, items: list[int]) -> list[int]:
        self._meet("dies", lambda: os.kill(os.getpid(), signal.SIGKILL))
        self._meet("stops", lambda: os.kill(os.getpid(), signal.SIGSTOP))
        with self.pulse.during("double"):
            self._meet("sleeps", lambda: time.sleep(1000))
        if (self.folder / f"{self.name} always dies").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        return [2 * item for item in items]

    def _meet(self, fate: str, then: Any) -> None:
        """Once."""
        file = self.folder / f"{self.name} {fate}"
        if file.exists():
            file.unlink()
            then()


def shorten(worker: Worker) -> list[None]:
    """Let a call of this process hang after two idle seconds."""
    pulse.IDLE_S = 2.0
    return [None]
