"""How long a study takes in one possible course: its trials' work, and how a pool of evaluators completes it.

A trial alternates between evaluators and its own work. Alone on K evaluators it takes the time of its path: its updates
in rounds of at most K calls, everything else one call after another. All trials in flight run at once; while together
they need more than the K evaluators, all of them slow down alike (processor sharing); when one ends, the next begins.

What is unknown beforehand is drawn anew for each course. Ranges that follow from no setting come from the studies
recorded in docs/cost.md.
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
"""Seconds of a call to the pool and back (benchmarks/README.md, row 8)."""
NUM_DRAWS = 400
RANGES = {
    "updates": (0.0, 1.0), "seen_whole": (0.5, 1.0), "known": (0.0, 0.2), "pruned": (0.05, 0.65), "tries": (0.5, 1.5),
}  # fmt: skip
"""Ranges of the fields of :class:`Draw`."""


@dataclass(frozen=True)
class Draw:
    """One possible course of a study."""

    updates: float
    """When agents converge, from 0 (the fewest updates of a layer) to 1 (the most)."""
    seen_whole: float
    """Share of candidates so close to the floor that they see all images."""
    known: float
    """Share of candidates that the memo answers."""
    pruned: float
    """Share of the filters that trials have pruned at the end."""
    tries: float
    """Masks that a layer's commit fine-tunes and scores: none for a layer that stays whole, several near the bound."""
    speed: float
    """Factor on all times: 1 is the speed while timing."""
    rng: np.random.Generator
    """Draws what varies by layer or by trial."""

    @property
    def halvings(self) -> float:
        """How many times the number of filters is halved by the end."""
        return -math.log2(1 - self.pruned)


def draws(sigma: float, share: float = 1.0, seed: int = 0) -> Iterator[Draw]:
    """Possible courses. ``sigma``: of the logarithm of this machine's speed; ``share``: as :attr:`Drift.share`."""
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
    """Timings at some of ``all_layers``, interpolated: one column for each of ``layers``."""
    known = sorted((all_layers.index(layer), *values) for layer, values in timed.items())
    places, *rows = zip(*known, strict=True)
    return np.array([np.interp([all_layers.index(layer) for layer in layers], places, row) for row in rows])


@dataclass(frozen=True)
class Shape:
    """What is fixed about a trial. Arrays have one column per layer that it decides, in the order of deciding."""

    costs: Costs
    masks: np.ndarray
    """Rows: the fields of :class:`raprune.preflight.estimate.timing.MaskCost`, with nothing pruned before."""
    half_pruned: np.ndarray
    """Factor on ``masks`` once half of the filters of all earlier layers are pruned."""
    asked: np.ndarray
    """Masks per update, fewest and most updates, fewest and most masks one by one; zeros in a matched trial."""
    own: np.ndarray
    """Rows: the fields of :class:`raprune.preflight.estimate.own.Own`."""
    ends_s: float
    """The trial's own work at its beginning and end."""
    num_ordered: int = 0
    """Masks scored to find the order."""
    hopeless: float = 1.0
    """Share of the images after which a hopeless candidate is given up."""
    matched: bool = False
    pays_finetuned: bool = False
    """Whether this trial runs the baseline's fine-tunes that all trials of its kind share."""
    has_pictures: bool = False
    at_once: int = 1
    """Evaluators that an update can keep busy."""
    proposals: int = 1
    """Masks that the decision stage asks for at once."""
    joint: tuple[int, int] = (0, 0)
    """Joint passes, and the candidates of each."""
    low_rank: tuple[float, float, float, bool] | None = None
    """Fewest and most layers tried, states scored per layer, whether each is fine-tuned."""


@dataclass(frozen=True)
class Work:
    """A trial's work: evaluators' seconds for updates, the search and the rest, and the trial's own seconds."""

    update_s: float = 0.0
    search_s: float = 0.0
    commit_s: float = 0.0
    own_s: float = 0.0
    num_calls: float = 0.0
    """How many times it waits for evaluators."""
    num_candidates: float = 0.0
    masks_per_update: int = 1
    at_once: int = 1
    """Evaluators that an update can keep busy."""
    proposals: int = 1
    """Evaluators that the search after it can keep busy."""

    @property
    def evaluator_s(self) -> float:
        """Seconds of all that evaluators do for it."""
        return self.update_s + self.search_s + self.commit_s

    def rounds_s(self, num_evaluators: int) -> float:
        """Seconds of the updates, with all evaluators to itself."""
        return self.update_s * math.ceil(self.at_once / num_evaluators) / self.at_once

    def path_s(self, num_evaluators: int, call_s: float = CALL_S) -> float:
        """Seconds from beginning to end, with all evaluators to itself; ``call_s`` is the cost of a call to them."""
        search_s = self.search_s * math.ceil(self.proposals / num_evaluators) / self.proposals
        rest = self.commit_s + self.own_s + self.num_calls * call_s
        return self.rounds_s(num_evaluators) + search_s + rest


def work_of(shape: Shape, draw: Draw) -> Work:
    """The seconds and candidates of a trial."""
    total: Counter[str] = Counter()
    for part in (_candidates, _commits, _joint, _end):
        total.update(part(shape, draw))
    scaled = {name: float(value) * (draw.speed if name.endswith("_s") else 1.0) for name, value in total.items()}
    asked = int(shape.asked[0].max())
    return Work(**scaled, masks_per_update=asked, at_once=shape.at_once, proposals=shape.proposals)


def _candidates(shape: Shape, draw: Draw) -> dict[str, float]:
    """The masks that the method requests in all layers, and those that the order requested before."""
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
        "num_calls": (updates + searched / shape.proposals).sum() + shape.num_ordered,
        "num_candidates": (updates * several + searched).sum(),
    }


def _commits(shape: Shape, draw: Draw) -> dict[str, float]:
    """The commits of all layers. A matched layer is tried once, and its score as cut is measured."""
    costs, number = shape.costs, len(shape.half_pruned)
    tries = min(1.0, draw.tries) if shape.matched else draw.tries
    factors = costs.pruned_step ** (draw.halvings * np.arange(number) / number)
    measured_s = (1 + shape.matched) * costs.val_s + costs.look_s
    layers_s = sum(costs.trained(costs.steps.commit, factor) + measured_s for factor in factors)
    return {
        "commit_s": tries * layers_s,
        "own_s": shape.own[0].sum(),
        "num_calls": number * tries * (2 + shape.matched),
    }


def _joint(shape: Shape, draw: Draw) -> dict[str, float]:
    """The joint passes: candidates run as whole networks, after the fine-tune before the reward if there is one.

    From one pass that finds nothing to prune once each layer has a price, to all passes with all their candidates.
    """
    (passes, candidates), costs = shape.joint, shape.costs
    factor, share = costs.pruned_step**draw.halvings, draw.rng.uniform() if passes else 0.0
    fewest, most = min(candidates / 2, len(shape.half_pruned)), passes * candidates
    number = 0.0 if shape.matched else fewest + share * (most - fewest)
    commits = passes * (1.0 if shape.matched else share)
    commits_s = commits * draw.tries * (costs.trained(costs.steps.commit, factor) + costs.val_s + costs.look_s)
    return {
        "search_s": number * (costs.trained(costs.steps.reward, factor) + costs.val_s * factor),
        "commit_s": commits_s,
        "num_calls": float(number + commits * 3),
        "num_candidates": float(number),
    }


def _end(shape: Shape, draw: Draw) -> dict[str, float]:
    """Low rank, the final fine-tune, test, pictures, and the baseline's fine-tunes, which a kind of trials shares."""
    costs, steps, calls = shape.costs, shape.costs.steps, 4.0
    end_s = costs.trained(steps.final, costs.pruned_step**draw.halvings) + costs.val_s * (steps.final > 0)
    end_s += costs.test_s + costs.look_s + 2 * costs.val_s * shape.has_pictures
    if shape.pays_finetuned:
        commits = len(shape.half_pruned) + shape.joint[0]
        end_s += costs.trained(steps.commit) * commits + costs.trained(steps.final) + costs.val_s
    if shape.low_rank is not None:
        fewest, most, scores, finetunes = shape.low_rank
        layers = draw.rng.uniform(fewest, most)
        end_s += layers * (scores * costs.val_s + finetunes * (costs.trained(steps.commit) + costs.val_s))
        calls += layers * (scores + 1 + 2 * finetunes)
    return {"commit_s": end_s, "own_s": shape.ends_s, "num_calls": calls}


def results_bytes(shape: Shape, work: Work) -> float:
    """Bytes a trial writes: rows, memo, agents, the last state and the network, each at most the baseline's size."""
    *_, candidate_bytes, agent_bytes = shape.own
    states = 2 if shape.costs.steps.commit or shape.costs.steps.final else 1
    agents = 0.0 if shape.matched else agent_bytes.sum()
    return float(work.num_candidates * candidate_bytes.mean() + agents + states * shape.costs.model_bytes)


@dataclass(frozen=True)
class Course:
    """The baselines and the trials of one possible course of a study."""

    baselines_s: Sequence[float]
    waves: Sequence[Sequence[Work]]
    """What runs together, one after the other: all, or the rounds of a search or scheduler; matched trials last."""
    start_s: float
    """Seconds to start Ray and its evaluators."""
    open_s: float
    in_flight: Callable[[int], int]
    """Number of evaluators -> trials that run at once."""

    def hours(self, num_evaluators: int) -> float:
        """Hours of wall time; 0 evaluators means this process alone."""
        if num_evaluators == 0:
            return (sum(self.baselines_s) + self.open_s + sum(map(serial_s, self.waves))) / 3600
        waves = sum(makespan_s(wave, num_evaluators, self.in_flight(num_evaluators)) for wave in self.waves)
        return (self.start_s + self.open_s + spread_s(self.baselines_s, num_evaluators) + waves) / 3600


def serial_s(works: Sequence[Work]) -> float:
    """Seconds of one trial after another in one process."""
    return sum(work.evaluator_s + work.own_s for work in works)


def makespan_s(works: Sequence[Work], num_evaluators: int, in_flight: int, call_s: float = CALL_S) -> float:
    """Seconds from the start of the first trial to the end of the last; trials start in the given order."""
    waiting = list(reversed(works))
    running: list[list[float]] = []  # seconds of the path that are left, and evaluators that it keeps busy
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
    """Seconds of ``jobs`` for one evaluator each, started in order on whichever evaluator is free first."""
    free = [0.0] * min(num_evaluators, max(1, len(jobs)))
    for job in jobs:
        heapq.heapreplace(free, free[0] + job)
    return max(free, default=0.0)
