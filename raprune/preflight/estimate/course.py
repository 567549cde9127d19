"""How long a study takes in one possible course: its trials' work, and how a pool of evaluators gets through it.

A trial alternates between evaluators and itself. Alone on K evaluators it takes its path: its updates in rounds of at
most K calls, everything else one call after another. As many trials as are in flight run at once; while together they
ask for more than the K evaluators, all of them slow down alike (processor sharing), and when one ends the next begins.

What is not known before is drawn anew for each course. Ranges that no setting gives are those of the studies recorded
in docs/cost.md.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from raprune.preflight.estimate.timing import Costs

CALL_S = 0.002
"""Of a call to the pool and back (benchmarks/README.md, row 8)."""
NUM_DRAWS = 400
RANGES = {
    "updates": (0.0, 1.0), "seen_whole": (0.5, 1.0), "known": (0.0, 0.2), "pruned": (0.05, 0.65), "tries": (0.5, 1.5),
}  # fmt: skip
"""Of the fields of :class:`Draw`."""


@dataclass(frozen=True)
class Draw:
    """One possible course of a study."""

    updates: float
    """Where between the fewest and the most updates of a layer the agents converge, 0 to 1."""
    seen_whole: float
    """Share of candidates that are so near to the floor that all images are seen."""
    known: float
    """Share of candidates that the memo answers."""
    pruned: float
    """Share of the filters that trials have pruned at their end."""
    tries: float
    """Masks that a layer's commit fine-tunes and scores: none for a layer that stays whole, several at the bound."""
    speed: float
    """Factor on all times: 1 is the speed while timing."""
    rng: np.random.Generator
    """Of what is drawn layer by layer or trial by trial."""

    @property
    def halvings(self) -> float:
        """How often the filters are halved until the end."""
        return -math.log2(1 - self.pruned)


def draws(sigma: float, share: float = 1.0, seed: int = 0) -> Iterator[Draw]:
    """``sigma``: of the logarithm of this machine's speed; ``share``: of its time that was not others', as measured."""
    for number in range(NUM_DRAWS):
        rng = np.random.default_rng((seed, number))
        drawn = {name: float(rng.uniform(*limits)) for name, limits in RANGES.items()}
        crowd = share ** float(rng.uniform(-1.0, 1.0))
        yield Draw(**drawn, speed=crowd * math.exp(float(rng.normal(0.0, sigma))), rng=rng)


def middle() -> Draw:
    """The middle of every range."""
    halves = {name: sum(limits) / 2 for name, limits in RANGES.items()}
    return Draw(**halves, speed=1.0, rng=np.random.default_rng(0))


def between(layers: Sequence[str], all_layers: Sequence[str], timed: Mapping[str, Sequence[float]]) -> np.ndarray:
    """What was timed at some of ``all_layers``, interpolated: a column for each of ``layers``."""
    known = sorted((all_layers.index(layer), *values) for layer, values in timed.items())
    places, *rows = zip(*known, strict=True)
    return np.array([np.interp([all_layers.index(layer) for layer in layers], places, row) for row in rows])


@dataclass(frozen=True)
class Shape:
    """What does not vary of a trial. Arrays have a column for each layer that it decides, in turn."""

    costs: Costs
    masks: np.ndarray
    """The rows of :class:`raprune.preflight.estimate.timing.MaskCost`, nothing pruned before."""
    half_pruned: np.ndarray
    """Factor on that with half of the filters of all earlier layers pruned."""
    asked: np.ndarray
    """Masks an update, fewest and most updates, fewest and most masks one by one; zeros in a matched trial."""
    own: np.ndarray
    """The rows of :class:`raprune.preflight.estimate.own.Own`."""
    ends_s: float
    """The trial's own work at its begin and end."""
    num_ordered: int = 0
    """Masks scored to find the order."""
    hopeless: float = 1.0
    """Share of the images after which a hopeless candidate is given up."""
    matched: bool = False
    pays_finetuned: bool = False
    """Whether it is the one that fine-tunes the baseline alike, for all trials of its kind."""
    has_pictures: bool = False
    at_once: int = 1
    """Evaluators that an update can keep busy."""
    low_rank: tuple[float, float, float, bool] | None = None
    """Fewest and most layers tried, states scored for each, whether it is fine-tuned."""


@dataclass(frozen=True)
class Work:
    """What a trial asks for. Evaluators' seconds: of updates, of masks one by one, of all else; and its own seconds."""

    update_s: float = 0.0
    search_s: float = 0.0
    commit_s: float = 0.0
    own_s: float = 0.0
    num_calls: float = 0.0
    """Times that it waits for evaluators."""
    num_candidates: float = 0.0
    masks_per_update: int = 1
    at_once: int = 1
    """Evaluators that an update can keep busy."""

    @property
    def evaluator_s(self) -> float:
        """All that evaluators do for it."""
        return self.update_s + self.search_s + self.commit_s

    def rounds_s(self, num_evaluators: int) -> float:
        """The updates, with all of the evaluators to itself."""
        return self.update_s * math.ceil(self.at_once / num_evaluators) / self.at_once

    def path_s(self, num_evaluators: int, call_s: float = CALL_S) -> float:
        """From its begin to its end, with all of the evaluators to itself; ``call_s`` is what a call to them costs."""
        rest = self.search_s + self.commit_s + self.own_s + self.num_calls * call_s
        return self.rounds_s(num_evaluators) + rest


def work_of(shape: Shape, draw: Draw) -> Work:
    """The seconds and candidates of a trial."""
    total: Counter[str] = Counter()
    for part in (_candidates, _commits, _end):
        total.update(part(shape, draw))
    scaled = {name: float(value) * (draw.speed if name.endswith("_s") else 1.0) for name, value in total.items()}
    return Work(**scaled, masks_per_update=int(shape.asked[0].max()), at_once=shape.at_once)


def _candidates(shape: Shape, draw: Draw) -> dict[str, float]:
    """What the method asks for, in all layers, and what the order asked for before."""
    costs, (fixed_s, batch_s, cold_s, together), (_, update_s, search_s, *_) = shape.costs, shape.masks, shape.own
    share = draw.seen_whole + (1 - draw.seen_whole) * shape.hopeless if costs.gives_up else 1.0
    factor = shape.half_pruned**draw.halvings
    mask_s = (fixed_s + max(1.0, share * costs.val_batches) * batch_s) * factor * (1 - draw.known)
    several, fewest, most, *alone = shape.asked
    updates, searched = fewest + draw.updates * (most - fewest), draw.rng.uniform(*alone)
    ordered_s = shape.num_ordered * (fixed_s + costs.val_batches * batch_s).mean()
    colds_s = cold_s @ factor * (not shape.matched) + cold_s.sum() * (shape.num_ordered > 0)
    return {
        "update_s": updates * several @ (mask_s * together),
        "search_s": searched @ mask_s,
        "commit_s": ordered_s + colds_s,
        "own_s": updates @ update_s + searched @ search_s,
        "num_calls": (updates + searched).sum() + shape.num_ordered,
        "num_candidates": (updates * several + searched).sum(),
    }


def _commits(shape: Shape, draw: Draw) -> dict[str, float]:
    """All layers' commits. A matched layer is tried once, and its score as cut is not known."""
    costs, number = shape.costs, len(shape.half_pruned)
    tries = min(1.0, draw.tries) if shape.matched else draw.tries
    factors = costs.pruned_step ** (draw.halvings * np.arange(number) / number)
    layers_s = sum(costs.trained(costs.steps.commit, factor) + (1 + shape.matched) * costs.val_s for factor in factors)
    return {
        "commit_s": tries * layers_s,
        "own_s": shape.own[0].sum(),
        "num_calls": number * tries * (2 + shape.matched),
    }


def _end(shape: Shape, draw: Draw) -> dict[str, float]:
    """Low rank, the final fine-tune, test, pictures, and the baseline's fine-tunes, once for all trials of a kind."""
    costs, steps, calls = shape.costs, shape.costs.steps, 4.0
    end_s = costs.trained(steps.final, costs.pruned_step**draw.halvings) + costs.val_s * (steps.final > 0)
    end_s += costs.test_s + 2 * costs.val_s * shape.has_pictures
    if shape.pays_finetuned:
        end_s += costs.trained(steps.commit) * len(shape.half_pruned) + costs.trained(steps.final) + costs.val_s
    if shape.low_rank is not None:
        fewest, most, scores, finetunes = shape.low_rank
        layers = draw.rng.uniform(fewest, most)
        end_s += layers * (scores * costs.val_s + finetunes * (costs.trained(steps.commit) + costs.val_s))
        calls += layers * (scores + 1 + 2 * finetunes)
    return {"commit_s": end_s, "own_s": shape.ends_s, "num_calls": calls}


def results_bytes(shape: Shape, work: Work) -> float:
    """What a trial leaves: rows, memo, agents, the last state and the network, both at most of the baseline's size."""
    *_, candidate_bytes, agent_bytes = shape.own
    states = 2 if shape.costs.steps.commit or shape.costs.steps.final else 1
    agents = 0.0 if shape.matched else agent_bytes.sum()
    return float(work.num_candidates * candidate_bytes.mean() + agents + states * shape.costs.model_bytes)


@dataclass(frozen=True)
class Course:
    """The baselines and the trials of one possible course of a study."""

    baselines_s: Sequence[float]
    waves: Sequence[Sequence[Work]]
    """Searched trials, then matched ones."""
    start_s: float
    """Of Ray and its evaluators."""
    open_s: float
    in_flight: Callable[[int], int]
    """Number of evaluators -> trials that run at once."""

    def hours(self, num_evaluators: int) -> float:
        """Wall time; 0 evaluators is this process alone."""
        if num_evaluators == 0:
            return (sum(self.baselines_s) + self.open_s + sum(map(serial_s, self.waves))) / 3600
        waves = sum(makespan_s(wave, num_evaluators, self.in_flight(num_evaluators)) for wave in self.waves)
        return (self.start_s + self.open_s + spread_s(self.baselines_s, num_evaluators) + waves) / 3600


def serial_s(works: Sequence[Work]) -> float:
    """One trial after another in one process."""
    return sum(work.evaluator_s + work.own_s for work in works)


def makespan_s(works: Sequence[Work], num_evaluators: int, in_flight: int, call_s: float = CALL_S) -> float:
    """From the first trial's begin to the last one's end, begun in their order."""
    waiting = list(reversed(works))
    running: list[list[float]] = []  # seconds left of the path, and evaluators that it keeps busy on the way
    total = 0.0
    while waiting or running:
        while waiting and len(running) < in_flight:
            work = waiting.pop()
            path = max(1e-9, work.path_s(num_evaluators, call_s))
            running.append([path, work.evaluator_s / path])
        slower = max(1.0, sum(busy for _, busy in running) / num_evaluators)
        least = min(left for left, _ in running)
        total += least * slower
        running = [[left - least, busy] for left, busy in running if left - least > 1e-9 * max(1.0, total)]
    return total


def spread_s(jobs: Sequence[float], num_evaluators: int) -> float:
    """Jobs of one evaluator each, in their order, each to whichever is free first."""
    free = [0.0] * min(num_evaluators, max(1, len(jobs)))
    for job in jobs:
        heapq.heapreplace(free, free[0] + job)
    return max(free, default=0.0)
