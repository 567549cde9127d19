"""Keeps the pool of evaluators as large as the cluster allows and the study can use, while both change.

The driver calls :meth:`Keeper.look` from wherever it waits. Evaluators start where there is room, are listed in the
roster once they have their data, and leave it before they are ended. What was lost in between is scored again
elsewhere, so no row depends on any of this.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from raprune.errors import EvaluatorError, RapruneError
from raprune.evaluators.backend import Backend, CallError, LostError, Node
from raprune.evaluators.dispatch import WAY_ON
from raprune.evaluators.pulse import START_S, Pulses
from raprune.evaluators.roster import Roster, refused_on
from raprune.launch.bulletin import Bulletin
from raprune.launch.failures import Failures
from raprune.launch.pooled import Pooled
from raprune.launch.resources import Resources, Seat
from raprune.launch.room import Room, vacancies

LOOK_S, STARTING_S = 2.0, 0.2
"""Seconds between two looks; while an evaluator starts, they are more frequent."""
GREET_S = 30.0
"""Seconds after which an evaluator is asked again whether it lives."""
REST_S = 60.0
"""A pool that begins with fewer evaluators than fit waits this long for the rest."""
FEWER = "fewer are of use"
LEAVE_S = 5.0
"""Seconds after which no process hands out calls to an evaluator that left the roster."""


class Keeper:
    """A pool's evaluators, and who of them may be called."""

    def __init__(
        self,
        backend: Backend,
        resources: Resources,
        tell: Callable[[str], None],
        useful: Callable[[], int] | None = None,
    ) -> None:
        """``tell`` gets a line at each decision.

        ``useful``: evaluators that the study could use now. With it the pool asks the autoscaler for them, and gives
        back what it cannot use.
        """
        self.resources = resources
        self._backend, self._useful = backend, useful
        self._bulletin = Bulletin(backend, resources, tell)
        self._roster = Roster(backend)
        self._numbers = itertools.count()
        self._evaluators: dict[str, Pooled] = {}
        self._listed: tuple[tuple[str, ...], str] | None = None
        """What the roster holds."""
        self._ended = ""
        """Why there will be no other evaluator."""
        self._greeting: tuple[Any, ...] = ()
        self._next = self._next_place = float("-inf")
        self._failures = Failures()
        self._begun = False
        self._requested = 0
        self._room = Room()
        self._pulses = Pulses(backend)
        self.refused: set[str] = set()
        """Machines that differ from the study's own, by id: no evaluator starts there."""
        self._differ: set[str] = set()
        """Machines on which an evaluator found a difference: tried again only while no other one has room."""
        self.avoided: set[str] = set()
        """Machines on which the next evaluator must not start, by id."""

    @property
    def serving(self) -> list[Seat]:
        """Where the evaluators run that may be called."""
        return [e.seat for e in self._evaluators.values() if e.seat is not None and e.left is None]

    @property
    def at_work(self) -> list[Seat]:
        """Those of them whose machines are there, without those that lost their room to others."""
        now = self._backend.now()
        alive = [e for e in self._evaluators.values() if e.left is None and not e.lacks_room(now)]
        return [e.seat for e in alive if e.seat is not None and e.seat.node in self._bulletin.nodes]

    def begin(self, check: Callable[[], None]) -> None:
        """Wait until the study can begin; what ``check`` raises ends the wait.

        Raises the error of the evaluators, or :class:`EvaluatorError`, if none of them can be started.
        """
        since: float | None = None
        while True:
            check()
            self.look()
            number = len(self.serving)
            if since is None and number >= self.resources.least:
                since = self._backend.now()
            if since is not None and (
                number >= min(self._room.wanted, self._room.fits) or self._backend.now() - since > REST_S
            ):
                self._begun = True
                self._say()
                return
            self._backend.sleep(0.05)

    def greet(self, *greeting: Any) -> None:
        """Send ``greeting`` to every evaluator, now or when it joins: what it loads before it is called."""
        self._greeting = greeting
        for evaluator in self._evaluators.values():
            self._greet(evaluator)

    def look(self) -> None:
        """Take in who came and who went, if it is time to."""
        now = self._backend.now()
        if now < self._next:
            return
        starting = any(e.seat is None for e in self._evaluators.values())
        self._next = now + (STARTING_S if starting else LOOK_S)
        with contextlib.suppress(LostError):  # the cluster's head does not answer: look again later
            nodes = self._backend.nodes()
            self._bulletin.see(nodes)
            for evaluator in list(self._evaluators.values()):
                self._hear(evaluator)
            self._end_hanging()
            self._place()
            self._measure(nodes)
            self._fit(nodes)
            self._request()
            self._list()
            self._say()

    def close(self, let_go_s: float) -> None:
        """End all evaluators; they get ``let_go_s`` to release the memory of their hosts."""
        self._ask(0)
        actors = [evaluator.actor for evaluator in self._evaluators.values()]
        asked = [self._backend.call(actor, "let_go") for actor in actors]
        if asked:
            self._backend.wait(asked, len(asked), let_go_s)
        for actor in actors:
            self._backend.kill(actor, restart=False)
        self._evaluators = {}

    def _greet(self, evaluator: Pooled) -> None:
        evaluator.answer = self._backend.call(evaluator.actor, "join", *self._greeting)
        evaluator.asked = self._backend.now()

    def _hear(self, evaluator: Pooled) -> None:
        """Take in an evaluator's answer, or ask it again."""
        if evaluator.answer is None:
            moved = evaluator.seat is not None and evaluator.seat.node not in self._bulletin.nodes
            if moved or self._backend.now() - evaluator.heard > GREET_S:
                self._greet(evaluator)
            return
        if not self._backend.wait([evaluator.answer], 1, 0):
            return
        try:
            (seat,) = self._backend.result(evaluator.answer)
        except LostError as error:
            if not error.for_good:
                self._greet(evaluator)  # it restarts, here or elsewhere
                return
            self._drop(evaluator, str(error))
        except (RapruneError, CallError) as error:
            evaluator.answer, evaluator.heard = None, self._backend.now()
            if evaluator.seat is None:  # else the call that needs it raises it, too
                self._drop(evaluator, str(error), error)
        else:
            if evaluator.seat is None:
                self._failures.over()
                self._ended = ""
            evaluator.answer, evaluator.heard, evaluator.seat = None, self._backend.now(), Seat(*seat)

    def _drop(self, evaluator: Pooled, why: str, error: Exception | None = None) -> None:
        """Give up an evaluator that cannot be started, or not again; the next one waits a little longer."""
        del self._evaluators[evaluator.name]
        self._backend.kill(evaluator.actor, restart=False)
        if evaluator.left is not None:
            return
        differs = refused_on(self._backend, evaluator.name)
        self._differ |= differs
        self._failures.add(why, self._backend.now(), alone=not self.serving, differs=bool(differs))
        self._bulletin.refused(evaluator.name, why)
        if not self._failures.are_too_many:
            return
        self._ended = why  # trials that run fail with it
        self._list()
        if not self._begun:
            if isinstance(error, RapruneError):
                raise error
            raise EvaluatorError(f"no evaluator can be started: {why}. {WAY_ON}")

    def _end_hanging(self) -> None:
        """Kill the evaluators that do not answer and give no sign of life; they restart, once they have ever begun."""
        if not self._pulses.is_due():
            return
        now = self._backend.now()
        for evaluator in [e for e in self._evaluators.values() if e.answer is not None]:
            if self._pulses.hangs(evaluator.name) and self._pulses.claim(evaluator.name):
                self._backend.kill(evaluator.actor, restart=True)
            asked_s = min(now - evaluator.asked, evaluator.started_for(now))
            if self._pulses.never_began(evaluator.name, asked_s):
                host = self._bulletin.nodes.get(evaluator.node, "its machine")
                self._drop(evaluator, f"its process on {host} has given no sign of life for {START_S / 60:g} minutes")

    def _place(self) -> None:
        """Find out which evaluators that do not answer have a process."""
        now = self._backend.now()
        is_due = now >= self._next_place
        for evaluator in self._evaluators.values():
            if evaluator.seat is not None and evaluator.answer is None:
                evaluator.is_on(evaluator.seat.node, now)
            elif is_due:
                evaluator.is_on(self._backend.node_of(evaluator.actor), now)
        if is_due:
            self._next_place = now + LOOK_S

    def _measure(self, nodes: Sequence[Node]) -> None:
        """Count the room that there is, with and without what others use."""
        able, now = [node for node in nodes if node.id not in self.refused], self._backend.now()
        held = Counter(e.node for e in self._evaluators.values() if e.node)
        stay = [e for e in self._evaluators.values() if e.left is None]
        whole, least = self.resources.room(able), self.resources.least
        free, waiting = self._backend.free(), sum(not e.node for e in stay)  # those without a process come first
        alike = [node for node in able if node.id not in self._differ]
        elsewhere = max(0, vacancies(self.resources, alike, free, held) - waiting)
        self.avoided = self.refused | self._differ if elsewhere else self.refused
        more = elsewhere or max(0, vacancies(self.resources, able, free, held) - waiting)
        fits = min(whole, sum(not e.lacks_room(now) for e in stay) + more)
        wanted = max(whole, least)  # more than fits shows what is missing
        wanted = wanted if self._useful is None else min(wanted, max(self._useful(), least))
        self._room = Room(whole, fits, more, wanted)

    def _fit(self, nodes: Sequence[Node]) -> None:
        """Start evaluators where there is room; end those without, and those that the study cannot use."""
        wanted, least = self._room.wanted, self.resources.least
        leaving = [evaluator for evaluator in self._evaluators.values() if evaluator.left is not None]
        stay = [evaluator for evaluator in self._evaluators.values() if evaluator.left is None]
        for evaluator in leaving[: max(0, wanted - len(stay))]:  # of use again: a round has begun
            evaluator.left = None
            self._bulletin.no_longer(FEWER)
            stay.append(evaluator)
        number = min(wanted, max(len(stay) + self._room.more, least)) - len(stay)  # the least wait for room
        for _ in range(self._failures.may_start(number, self._backend.now())):
            self._start()
        alive = {node.id for node in nodes}
        for evaluator in reversed(stay[:] if len(stay) > wanted else []):
            surplus = sum(e.left is None for e in self._evaluators.values()) - wanted
            if surplus > 0 and (evaluator.seat is None or evaluator.seat.node not in alive):
                del self._evaluators[evaluator.name]
                self._backend.kill(evaluator.actor, restart=False)
            elif surplus > 0 and wanted < self._room.whole:
                evaluator.left = self._backend.now()
                self._bulletin.because(FEWER)
        for evaluator in [e for e in self._evaluators.values() if e.left is not None]:
            self._see_off(evaluator)

    def _start(self) -> None:
        name = f"evaluator-{next(self._numbers)}"
        self._evaluators[name] = evaluator = Pooled(name, self._backend.create(name), None, self._backend.now())
        self._greet(evaluator)

    def _see_off(self, evaluator: Pooled) -> None:
        """End an evaluator that left the roster, once it answers a greeting behind its last calls."""
        assert evaluator.left is not None
        if self._backend.now() - evaluator.left < LEAVE_S:
            return
        if evaluator.answer is None and evaluator.asked > evaluator.left + LEAVE_S:
            del self._evaluators[evaluator.name]
            self._backend.kill(evaluator.actor, restart=False)
        elif evaluator.answer is None:
            self._greet(evaluator)

    def _request(self) -> None:
        """Ask the autoscaler for what the study could use."""
        if self._useful is None:
            return
        self._ask(min(self.resources.most, max(self.resources.least, self._useful())))

    def _ask(self, number: int) -> None:
        if number != self._requested:
            with contextlib.suppress(LostError):  # asked again at the next look; the pool works without
                self._backend.request([self.resources.bundle] * number)
                self._requested = number

    def _list(self) -> None:
        """Bring the roster up to date."""
        names = tuple(e.name for e in self._evaluators.values() if e.seat is not None and e.left is None)
        if (names, self._ended) != self._listed:
            self._listed = (names, self._ended) if self._roster.write(names, self._ended) else None

    def _say(self) -> None:
        self._bulletin.say(self.at_work, self._begun, self._room, self._failures.why)
