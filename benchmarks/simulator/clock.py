"""A clock that jumps from event to event. Functions that wait are threads, of which one runs at a time."""

from __future__ import annotations

import functools
import heapq
import itertools
import math
import threading
from collections.abc import Callable


class _OverError(BaseException):
    """The simulation is over: what still waits ends here."""


class Process:
    """A function that waits on the clock."""

    def __init__(self, clock: Clock, function: Callable[[], object]) -> None:
        self._clock, self._function = clock, function
        self._turn = threading.Semaphore(0)
        self._waits = 0
        """The number of the present wait; a wake-up for an earlier one comes too late."""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._turn.acquire()
        try:
            if not self._clock.is_over:
                self._function()
        except _OverError:
            pass
        except BaseException as error:
            self._clock.failed = self._clock.failed or error
        self._clock.turn.release()

    def wait(self, seconds: float = math.inf) -> None:
        """Called by the process itself: let time pass until :meth:`wake`, at most ``seconds``."""
        self._waits += 1
        if seconds < math.inf:
            self._clock.after(seconds, functools.partial(self._resume, self._waits))
        self._clock.turn.release()
        self._turn.acquire()
        if self._clock.is_over:
            raise _OverError

    def wake(self) -> None:
        """Called by another one, or by an event: end the present wait."""
        self._clock.after(0.0, functools.partial(self._resume, self._waits))

    def _resume(self, wait: int) -> None:
        if wait == self._waits:
            self._waits += 1
            self._clock.give_turn(self)

    def give_turn(self) -> None:
        self._turn.release()

    def join(self) -> None:
        self._thread.join()


class Clock:
    """Simulated seconds since the start."""

    def __init__(self) -> None:
        self.now = 0.0
        self.is_over = False
        self.failed: BaseException | None = None
        self.turn = threading.Semaphore(0)
        """The turn of the loop."""
        self.current: Process | None = None
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._processes: list[Process] = []

    def after(self, seconds: float, do: Callable[[], None]) -> None:
        """Call ``do`` once so many seconds have passed; what is due at the same time keeps its order."""
        heapq.heappush(self._events, (self.now + seconds, next(self._numbers), do))

    def spawn(self, function: Callable[[], object]) -> None:
        """Begin a function that may wait."""
        process = Process(self, function)
        self._processes.append(process)
        self.after(0.0, lambda: self.give_turn(process))

    def give_turn(self, process: Process) -> None:
        """Let a process run until it waits or ends."""
        self.current = process
        process.give_turn()
        self.turn.acquire()
        self.current = None
        if self.failed is not None:
            raise self.failed

    def run(self, until: float = math.inf) -> None:
        """Let time pass, at most up to ``until``; raises what a process raised."""
        while self._events and self._events[0][0] <= until:
            self.now, _, do = heapq.heappop(self._events)
            do()
        if until < math.inf:
            self.now = max(self.now, until)

    def close(self) -> None:
        """End every process that still waits."""
        self.is_over = True
        for process in self._processes:
            process.give_turn()
            process.join()
