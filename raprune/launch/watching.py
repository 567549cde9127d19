"""Watches the cluster, and reports its loss in a sentence before Ray ends the process a minute later.

A process that is gone shows at once. One that hangs is found by asking: the head (GCS) whether it answers, and whether
this process's node is among those that gave a sign of life; the head asks every node's raylet regularly.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from raprune.errors import EvaluatorError

LOOK_S = 0.5
UNREACHABLE_S = 15.0
"""A head that cannot be reached for this long is lost; Ray itself gives up after a minute."""
SILENT_S = 45.0
"""A head that can be reached, but answers nothing for this long, is lost."""
ANSWER_S = 5.0
"""The head has this long for one answer."""
ASK_S = 2.0
"""Seconds between questions to the head."""
STUCK_S = 30.0
"""Seconds after the loss at which a process that still waits for the cluster is ended, as Ray would do."""
WAY_ON = "What is on disk is kept: the same command resumes from the last committed layers."


class ClusterLostError(EvaluatorError):
    """The cluster that a study ran on is gone."""


class ClusterWatch:
    """Watches the cluster in a thread of its own, between :meth:`start` and :meth:`stop`."""

    def __init__(
        self, address: str, processes: dict[str, Any], folder: Path | None, ask: Callable[[float], bool] | None = None
    ) -> None:
        """``processes``: description -> process of a local cluster; ``address``: host:port of the head.

        ``ask(timeout_s)``: whether this process's node lives, according to the head; raises if the head is silent.
        """
        self.lost: str | None = None
        """Why the cluster was lost; ``None`` until then."""
        self._address = address
        self._processes = processes
        self._folder = folder
        self._ask = ask
        self._stopped = threading.Event()
        self._asked = 0.0
        self._silent_since: float | None = None
        self._thread = threading.Thread(target=self._look_regularly, daemon=True, name="cluster-watch")

    @classmethod
    def of_this_process(cls, folder: Path | None) -> ClusterWatch:
        """Create the watch of this process's cluster; ``folder`` if it is a local one."""
        import ray

        node = ray._private.worker._global_node
        own = node.all_processes if folder is not None and node is not None else {}
        wanted = {"gcs_server": "Ray's head process (GCS)", "raylet": "Ray's node process (raylet)"}
        processes = {wanted[name]: infos[0].process for name, infos in own.items() if name in wanted}
        return cls(ray.get_runtime_context().gcs_address, processes, folder, _question())

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()

    def check(self, wait_s: float = 0.0) -> None:
        """Raise :class:`ClusterLostError` if the cluster is lost, or its loss shows within ``wait_s`` seconds."""
        end = time.monotonic() + wait_s
        while self.lost is None and time.monotonic() < end:
            time.sleep(0.1)
        if self.lost is not None:
            raise ClusterLostError(self.lost)

    def _look_regularly(self) -> None:
        while self.lost is None:
            if self._stopped.wait(LOOK_S):
                return
            why = self._dead_process() or self._hanging()
            if why is not None:
                logs = "" if self._folder is None else f" Ray's own logs are in {self._folder}."
                self.lost = f"the Ray cluster was lost: {why}. {WAY_ON}{logs}"
        if not self._stopped.wait(STUCK_S):  # some Ray call waits for an answer that never comes
            end_process(self.lost, 1, self._processes.values())

    def _dead_process(self) -> str | None:
        for what, process in self._processes.items():
            if process.poll() is not None:
                memory = " (the kernel kills processes when memory is short)" if process.poll() == -9 else ""
                return f"{what} on {socket.gethostname()} was killed or crashed{memory}"
        return None

    def _hanging(self) -> str | None:
        """Why nothing more is to be expected of processes that are there, or on another machine."""
        if time.monotonic() - self._asked < ASK_S:
            return None
        lives, why, limit_s = True, "", SILENT_S
        try:
            if not self._processes:
                why, limit_s = f"its head at {self._address} cannot be reached", UNREACHABLE_S
                host, _, port = self._address.rpartition(":")
                socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_S).close()
            why, limit_s = f"its head (GCS) at {self._address} does not answer", SILENT_S
            lives = self._ask is None or self._ask(ANSWER_S)
            self._silent_since = None
        except Exception as error:  # of the socket, or Ray's own, which differ from version to version
            self._silent_since = self._silent_since or time.monotonic()
            if time.monotonic() - self._silent_since > limit_s:
                return f"{why} ({error})"
        self._asked = time.monotonic()
        return None if lives else f"Ray's node process (raylet) on {socket.gethostname()} gave no sign of life"


def _question() -> Callable[[float], bool]:
    """Asks the head whether this process's node lives."""
    import ray
    from ray._raylet import NodeID

    gcs = ray._private.worker.global_worker.gcs_client
    node = NodeID.from_hex(ray.get_runtime_context().get_node_id())
    return lambda timeout_s: bool(gcs.check_alive([node], timeout=timeout_s)[0])


def end_process(sentence: str, code: int, others: Iterable[Any] = ()) -> None:
    """Print ``sentence``, kill ``others``, and end this process at once.

    In this order: Ray ends this process without a word when its raylet goes.
    """
    with contextlib.suppress(Exception):
        print(sentence, file=sys.stderr, flush=True)
    for process in others:
        process.kill()
    os._exit(code)
