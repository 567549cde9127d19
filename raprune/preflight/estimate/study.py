"""The estimate of a whole study: what was timed, put together for every number of evaluators."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from raprune.engine.inputs import Inputs
from raprune.evaluators.in_process import local_device
from raprune.launch.in_flight import trials_in_flight
from raprune.network.measure import count_bytes
from raprune.network.sizes import Sizes
from raprune.network.state import State
from raprune.plugins.methods.base import Method
from raprune.preflight.checks import Facts, facts_key
from raprune.preflight.estimate.clock import Deadline, Drift, seconds
from raprune.preflight.estimate.draws import Draw, draws, middle, share_when_hopeless
from raprune.preflight.estimate.low_rank import low_rank_work
from raprune.preflight.estimate.memory import Held, Libraries, held_by, measure_libraries
from raprune.preflight.estimate.own import Own, own_costs, view_of
from raprune.preflight.estimate.reduced import cost_key
from raprune.preflight.estimate.schedule import Work, makespan_s, serial_s, spread_s
from raprune.preflight.estimate.timing import Costs, Timer, spread
from raprune.preflight.estimate.trials import Shape, results_bytes, work_of
from raprune.registry import METHODS, ORDERS
from raprune.study import StudyPlan, TrialSpec
from raprune.study.wording import counted

TIMING_S = 30.0
"""After so long only what is needed for an answer is timed."""
NUM_EVALUATORS = (1, 8, 64, 512)
RAY_START_S = 6.0
"""Of a local Ray and of Tune's first trial on an idle machine, beside the evaluators' own start."""
CALL_S = 0.002
"""Of a call to the pool and back (benchmarks/README.md, row 8)."""
OWN_LAYERS = 3
INTERVAL = (0.1, 0.5, 0.9)
"""An 80% interval and its middle, as quantiles."""

Told = Callable[[str], None]
Wave = list[tuple[TrialSpec, Shape]]
"""Trials that run together."""


@dataclass(frozen=True)
class Course:
    """The baselines and the trials of one possible course of a study."""

    baselines_s: Sequence[float]
    waves: Sequence[Sequence[Work]]
    """Searched trials, then matched ones."""
    start_s: float
    """Of Ray and its evaluators."""
    open_s: float

    def hours(self, num_evaluators: int, in_flight: int) -> float:
        """Wall time; 0 evaluators is this process alone."""
        if num_evaluators == 0:
            return (sum(self.baselines_s) + self.open_s + sum(map(serial_s, self.waves))) / 3600
        waves = sum(makespan_s(wave, num_evaluators, in_flight, CALL_S) for wave in self.waves)
        return (self.start_s + self.open_s + spread_s(self.baselines_s, num_evaluators) + waves) / 3600

    @property
    def num_candidates(self) -> float:
        return sum(work.num_candidates for wave in self.waves for work in wave)


@dataclass
class Estimate:
    """What a study will cost; intervals are (10%, 50%, 90%)."""

    device: str
    timed_s: float
    """How long the timing took."""
    sigma: float
    """Of the logarithm of the machine's speed while timing."""
    share: float
    """Of the processors' time that timing could have used, what it got."""
    candidates: tuple[float, float, float]
    hours: dict[int, tuple[float, float, float]]
    """Number of evaluators (0: in process) -> hours."""
    held: dict[str, Held]
    """Network on data -> what an evaluator holds of it."""
    libraries: Libraries
    gpu_bytes: int | None
    """On a GPU the most that was allocated."""
    results_bytes: float
    course: Course
    """The middle of every range."""
    plan: StudyPlan
    timed: list[str] = field(default_factory=list)
    """What was timed, in words."""


def estimate_study(
    plan: StudyPlan,
    facts: Mapping[str, Facts],
    told: Told,
    num_evaluators: Sequence[int] = NUM_EVALUATORS,
    inputs: Inputs | None = None,
) -> Estimate:
    """Time work of the study here and put it together; ``told`` hears what is done, in words."""
    return _Estimation(plan, facts, told, inputs or Inputs()).run(num_evaluators)


class _Estimation:
    def __init__(self, plan: StudyPlan, facts: Mapping[str, Facts], told: Told, inputs: Inputs) -> None:
        self.inputs = inputs
        self.plan = plan
        self.facts = facts
        self.told = told
        self.device = local_device(plan.spec.evaluators.device)
        threads = max(trial.scoring.threads for trial in plan.trials)
        self.drift = Drift(threads if self.device == "cpu" else None)
        self.costs: dict[str, Costs] = {}
        self.sizes: dict[str, Sizes] = {}
        self.own: dict[tuple[str, str], dict[str, Own]] = {}
        self.ends_s: dict[str, float] = {}
        self.held: dict[str, Held] = {}
        self.orders: dict[str, tuple[tuple[str, ...], int]] = {}
        self.timed: list[str] = []

    def run(self, num_evaluators: Sequence[int]) -> Estimate:
        began = time.perf_counter()
        self.told("loading what an evaluator loads, in a process of its own")
        libraries = measure_libraries()
        keys: dict[str, list[TrialSpec]] = {}
        for trial in self.plan.trials:
            keys.setdefault(cost_key(trial), []).append(trial)
        for number, (key, trials) in enumerate(keys.items(), start=1):
            fact = self.facts[facts_key(trials[0])]
            what = f"{fact.model} on {fact.dataset}" + (f" ({number} of {len(keys)})" if len(keys) > 1 else "")
            self._time(key, trials, what, TIMING_S / len(keys))
        shapes = self._shapes()
        took_s, sigma, share = time.perf_counter() - began, self.drift.sigma, self.drift.share
        self.told("putting it together")
        possible = [self._course(shapes, libraries, draw) for draw in draws(self.drift.sigma_later, share)]
        hours = {
            number: self._quantiles([course.hours(number, self._in_flight(number)) for course in possible])
            for number in num_evaluators
        }
        central = self._course(shapes, libraries, middle())
        works = [work for wave in central.waves for work in wave]
        ordered = [shape for wave in shapes for _, shape in wave]
        models = [self.sizes[facts_key(trial)] for wave in shapes for trial, _ in wave]
        bytes_of = [count_bytes(sizes.traced.network) for sizes in models]
        results = sum(map(results_bytes, ordered, works, bytes_of))
        results += sum(dict(zip([t.baseline_key for w in shapes for t, _ in w], bytes_of, strict=True)).values())
        gpu = torch.cuda.max_memory_allocated() if self.device.startswith("cuda") else None
        candidates = self._quantiles([course.num_candidates for course in possible])
        return Estimate(
            self.device, took_s, sigma, share, candidates, hours, self.held, libraries, gpu, results, central,
            self.plan, self.timed,
        )  # fmt: skip

    @staticmethod
    def _quantiles(values: Sequence[float]) -> tuple[float, float, float]:
        low, mid, high = np.quantile(values, INTERVAL)
        return float(low), float(mid), float(high)

    def _in_flight(self, num_evaluators: int) -> int:
        return trials_in_flight(self.plan.trials, num_evaluators)

    def _time(self, key: str, trials: Sequence[TrialSpec], what: str, seconds_left: float) -> None:
        trial = trials[0]
        fact, deadline = self.facts[facts_key(trial)], Deadline(seconds_left)
        self.told(f"{what}: loading")
        timer = Timer(trial, self.device, self.plan.spec.evaluators, self.drift, self.inputs)
        self.costs[key] = timer.costs
        self._look_at_network(trial, timer)
        layers = list(fact.graph.groups)
        decided = list(dict.fromkeys(layer for t in trials for layer in self._layers(t)))
        orders = list(dict.fromkeys(self._order(t)[0] for t in trials))
        self.told(f"{what}: fine-tunes and the baseline's training")
        timer.time_training(deadline)
        self.told(f"{what}: candidates of {counted(min(5, len(decided)), 'layer')}, low to high")
        timer.time_masks([layer for layer in layers if layer in decided], [o for o in orders if len(o) > 1], deadline)
        self.told(f"{what}: what a trial does itself")
        for t in trials:
            method = (facts_key(t), t.method.model_dump_json())
            if not t.matched_trial_id and method not in self.own:
                chosen = spread([layer for layer in layers if layer in decided], OWN_LAYERS)
                sizes, number = self.sizes[facts_key(t)], fact.num_val
                self.own[method] = {layer: own_costs(t, sizes, layer, number) for layer in chosen}
        self.timed.append(f"{what}, {len(timer.costs.masks)} of {counted(len(decided), 'layer')}")

    def _look_at_network(self, trial: TrialSpec, timer: Timer) -> None:
        key, data = facts_key(trial), self.inputs.data(trial.dataset)
        if key in self.sizes:
            return
        traced_s = seconds(lambda: timer.engine.workload.load_network(self.inputs, data.num_classes, data.input_shape))
        traced = timer.engine.workload.load_network(self.inputs, data.num_classes, data.input_shape)
        weights = {name: t.clone() for name, t in traced.network.state_dict().items()}
        self.sizes[key] = Sizes(traced, weights, data.input_shape)
        latency_s = seconds(lambda: self.sizes[key].latency_s(State.baseline(trial.baseline_key)))
        self.ends_s[key] = traced_s + 2 * latency_s
        fact, cache = self.facts[key], int(self.plan.spec.evaluators.cache_gib * 2**30)
        self.held[f"{fact.model} on {fact.dataset}"] = held_by(
            timer.engine, data, trial.scoring.batch_size, trial.finetune.batch_size, cache
        )

    def _layers(self, trial: TrialSpec) -> list[str]:
        graph = self.facts[facts_key(trial)].graph
        return graph.arrange(trial.layers_among(graph.groups))

    def _order(self, trial: TrialSpec) -> tuple[tuple[str, ...], int]:
        """The order of deciding, and the masks scored to find it; scores are made up."""
        if trial.trial_id not in self.orders:
            rng, asked = np.random.default_rng(0), 0

            def score(layer: str, mask: torch.Tensor) -> float:
                nonlocal asked
                del layer, mask
                asked += 1
                return float(rng.uniform(50, 90))

            order = ORDERS.build(trial.order.name, trial.order.settings)
            views = [view_of(self.sizes[facts_key(trial)], layer) for layer in self._layers(trial)]
            found = tuple(order.arrange(views, score))
            self.orders[trial.trial_id] = (found, 0 if trial.matched_trial_id else asked)
        return self.orders[trial.trial_id]

    def _shapes(self) -> list[Wave]:
        """The trials of both waves."""
        paid: set[tuple[str, int, int]] = set()
        waves: list[Wave] = [[], []]
        for trial in self.plan.trials:
            fact, data = self.facts[facts_key(trial)], self.inputs.data(trial.dataset)
            order, num_ordered = self._order(trial)
            kind = (cost_key(trial), len(order), trial.baseline.seed)
            method: Method = METHODS.build(trial.method.name, trial.method.settings)
            asked = {layer: method.asked(fact.graph.group(layer).num_filters) for layer in order}
            own = self.own.get((facts_key(trial), trial.method.model_dump_json()))
            shape = Shape(
                self.costs[cost_key(trial)], tuple(fact.graph.groups), order, {} if trial.matched_trial_id else asked,
                own or next(iter(self.own.values())), self.ends_s[facts_key(trial)], num_ordered,
                share_when_hopeless(trial, fact, data.num_classes), kind not in paid,
                data.val.labels_B.dim() == 3, low_rank_work(trial, self.sizes[facts_key(trial)]),
            )  # fmt: skip
            paid.add(kind)
            waves[trial.matched_trial_id is not None].append((trial, shape))
        return waves

    def _course(self, shapes: Sequence[Wave], libraries: Libraries, draw: Draw) -> Course:
        baselines = {trial.baseline_key: self.costs[cost_key(trial)].baseline_s for trial in self.plan.trials}
        waves = [[work_of(shape, draw) for _, shape in wave] for wave in shapes]
        open_s = sum(costs.open_s for costs in self.costs.values())
        start_s = RAY_START_S / self.drift.share + libraries.start_s
        trained = [seconds_ * draw.speed for seconds_ in baselines.values()]
        return Course(trained, waves, start_s * draw.speed, open_s * draw.speed)
