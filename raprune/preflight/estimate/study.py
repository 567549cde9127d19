"""The estimate of a whole study: combines the timings for every number of evaluators."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from raprune.engine import Engine
from raprune.engine.devices import check_device
from raprune.engine.inputs import Inputs
from raprune.engine.launches import masks_a_launch
from raprune.evaluators.in_process import local_device
from raprune.launch.in_flight import trials_in_flight
from raprune.network.costs import Costs
from raprune.plugins.decisions.bisection import bisection_steps
from raprune.plugins.methods.base import LayerView
from raprune.preflight.checks import Facts, facts_key
from raprune.preflight.estimate.clock import Drift
from raprune.preflight.estimate.course import Course, Draw, Shape, between, draws, middle, results_bytes, work_of
from raprune.preflight.estimate.memory import Held, Libraries, held_by, measure_libraries
from raprune.preflight.estimate.own import Own, own_costs
from raprune.preflight.estimate.rounds import rounds_of
from raprune.preflight.estimate.small import cost_key
from raprune.preflight.estimate.timing import MOST_LAYERS, Timer, spread
from raprune.registry import REWARDS
from raprune.study import StudyPlan, TrialSpec
from raprune.study.postprocess import RULES
from raprune.study.wording import counted
from raprune.trial.asked import asked, build_decision, limit, most_in_a_pass
from raprune.trial.prelude import schedule

TIMING_S = 30.0
"""Seconds after which only what the estimate cannot do without is timed."""
NUM_EVALUATORS = (1, 8, 64, 512)
RAY_START_S = 6.0
"""Seconds to start a local Ray and Tune's first trial on an idle machine, besides the evaluators' own start."""
OWN_LAYERS = 3
"""Layers at which a trial's own work is timed."""
ASSUMED_SCORE = 90.0
"""Score of a baseline that is still to be trained, percent."""

Interval = tuple[float, float, float]
"""The 10%, 50% and 90% quantiles."""


@dataclass
class Estimate:
    """What a study will cost."""

    device: str
    timed_s: float
    """How long the timing took."""
    sigma: float
    """Standard deviation of the logarithm of the machine's speed while timing."""
    share: float
    """Share of the usable processor time that the timing got."""
    candidates: Interval
    hours: dict[int, Interval]
    """Number of evaluators (0: in process) -> hours."""
    held: dict[str, Held]
    """Network on data -> what an evaluator holds for it."""
    libraries: Libraries
    gpu_bytes: int | None
    """Peak memory allocated on a GPU; ``None`` without one."""
    results_bytes: float
    course: Course
    """The course with the middle of every range."""
    plan: StudyPlan
    timed: list[str] = field(default_factory=list)
    """What was timed, as text."""


def estimate_study(
    plan: StudyPlan,
    facts: Mapping[str, Facts],
    told: Callable[[str], None],
    num_evaluators: Sequence[int] = NUM_EVALUATORS,
    inputs: Inputs | None = None,
) -> Estimate:
    """Time parts of the study's work here and combine them; calls ``told`` with a text for each step."""
    return _Estimation(plan, facts, told, inputs or Inputs()).run(num_evaluators)


class _Estimation:
    def __init__(
        self, plan: StudyPlan, facts: Mapping[str, Facts], told: Callable[[str], None], inputs: Inputs
    ) -> None:
        self.inputs = inputs
        self.plan, self.facts, self.told = plan, facts, told
        self.device = local_device(plan.spec.evaluators.device)
        check_device(self.device)
        self.device_type = torch.device(self.device).type
        threads = max(trial.scoring.threads for trial in plan.trials)
        self.drift = Drift(threads if self.device == "cpu" else None)
        self.shapes: dict[str, Shape] = {}
        """By trial."""
        self.open_s = 0.0
        self.held: dict[str, Held] = {}
        self.timed: list[str] = []

    def run(self, num_evaluators: Sequence[int]) -> Estimate:
        began = time.perf_counter()
        self.told("loading an evaluator's libraries in a separate process")
        libraries = measure_libraries()
        groups: dict[str, list[TrialSpec]] = {}
        for trial in self.plan.trials:
            groups.setdefault(cost_key(trial), []).append(trial)
        for number, trials in enumerate(groups.values(), start=1):
            fact = self.facts[facts_key(trials[0])]
            what = f"{fact.model} on {fact.dataset}" + (f" ({number} of {len(groups)})" if len(groups) > 1 else "")
            self._time(trials, fact, what, TIMING_S / len(groups))
        took_s, sigma, share = time.perf_counter() - began, self.drift.sigma, self.drift.share
        self.told("combining the timings")
        possible = [self._course(libraries, draw) for draw in draws(self.drift.sigma_later, share)]
        numbers = [sum(work.num_candidates for wave in course.waves for work in wave) for course in possible]
        hours = {number: _interval([course.hours(number) for course in possible]) for number in num_evaluators}
        gpu = torch.cuda.max_memory_allocated() if self.device.startswith("cuda") else None
        baselines = {t.baseline_key: self.shapes[t.trial_id].costs.model_bytes for t in self.plan.trials}
        sizes = {name: results_bytes(shape, work_of(shape, middle())) for name, shape in self.shapes.items()}
        results = sum(sizes[trial.trial_id] for some in rounds_of(self.plan) for trial in some)
        return Estimate(
            self.device, took_s, sigma, share, _interval(numbers), hours, self.held, libraries, gpu,
            results + sum(baselines.values()), self._course(libraries, middle()), self.plan, self.timed,
        )  # fmt: skip

    def _time(self, trials: Sequence[TrialSpec], fact: Facts, what: str, seconds_left: float) -> None:
        """Time the work of trials with one cost key, and store their shapes."""
        self.told(f"{what}: loading")
        trial, spec = trials[0], self.plan.spec.evaluators
        timer = Timer(trial, self.device, spec, self.drift, seconds_left, self.inputs)
        self.open_s += timer.costs.open_s
        sizes = (trial.scoring.batch_size, trial.finetune.batch_size, int(spec.cache_gib * 2**30))
        self.held[f"{fact.model} on {fact.dataset}"] = held_by(timer.engine, self.inputs.encoded(trial.data), *sizes)
        orders = {trial.trial_id: _order(trial, timer.engine) for trial in trials}
        decided = [layer for layer in fact.graph.groups if any(layer in order for order, _ in orders.values())]
        self.told(f"{what}: fine-tunes and the baseline's training")
        timer.time_training()
        self.told(f"{what}: candidates of {counted(min(MOST_LAYERS, len(decided)), 'layer')}")
        together = int(max(_asked(trial, fact, decided)[0].max() for trial in trials))
        for order in dict.fromkeys([tuple(decided), *(order for order, _ in orders.values())]):
            timer.time_masks(order, together)
        self.told(f"{what}: a trial's own work")
        searched = {_method(trial): trial for trial in reversed(trials) if trial.matched_trial_id is None}
        layers, trains = spread(decided, OWN_LAYERS), timer.costs.steps.reward + timer.costs.steps.commit > 0
        own = {method: own_costs(t, fact, timer.engine, trains, layers) for method, t in searched.items()}
        kinds = {(len(orders[t.trial_id][0]), t.baseline.seed): t.trial_id for t in reversed(trials)}
        partner = next(iter(own.values()))  # stands for a matched trial's own work
        for trial in trials:
            shape = self._shape(trial, fact, timer, orders[trial.trial_id], own.get(_method(trial), partner))
            self.shapes[trial.trial_id] = replace(shape, pays_finetuned=trial.trial_id in kinds.values())
        self.timed.append(f"{what}, {len(timer.costs.masks)} of {counted(len(decided), 'layer')}")

    def _shape(
        self, trial: TrialSpec, fact: Facts, timer: Timer, ordered: tuple[tuple[str, ...], int],
        own: tuple[Mapping[str, Own], float],
    ) -> Shape:  # fmt: skip
        (order, num_ordered), costs, layers = ordered, timer.costs, tuple(fact.graph.groups)
        asked, hopeless = _asked(trial, fact, order), share_when_hopeless(trial, fact, timer.data.num_classes)
        ratios = {layer: (ratio,) for layer, ratio in costs.pruned[order].items()}
        return Shape(
            costs, between(order, layers, costs.masks), between(order, order, ratios)[0], asked,
            between(order, layers, own[0]), own[1], num_ordered, hopeless, trial.matched_trial_id is not None,
            has_pictures=timer.data.val.kind == "pixel", joint=joint_work(trial, fact.num_val),
            low_rank=low_rank_work(trial, fact), at_once=at_once(trial, int(asked[0].max()), self.device_type),
            proposals=1 if trial.matched_trial_id else build_decision(trial).at_once,
        )  # fmt: skip

    def _course(self, libraries: Libraries, draw: Draw) -> Course:
        trials = self.plan.trials
        baselines = {t.baseline_key: self.shapes[t.trial_id].costs.baseline_s * draw.speed for t in trials}
        works = {t.trial_id: work_of(self.shapes[t.trial_id], draw) for t in trials}
        waves = [[works[t.trial_id] for t in some] for some in rounds_of(self.plan)]
        start_s = (RAY_START_S / self.drift.share + libraries.start_s) * draw.speed
        in_flight = partial(trials_in_flight, trials, device_type=self.device_type)
        return Course(list(baselines.values()), waves, start_s, self.open_s * draw.speed, in_flight)


def at_once(trial: TrialSpec, masks_per_update: int, device_type: str) -> int:
    """Evaluators that an update can keep busy: one per mask, or one per launch where masks share launches."""
    return math.ceil(masks_per_update / masks_a_launch(trial, device_type))


def _method(trial: TrialSpec) -> str:
    return trial.method.model_dump_json()


def _order(trial: TrialSpec, engine: Engine) -> tuple[tuple[str, ...], int]:
    """The order of deciding, and the number of masks scored for it and the allowances; the scores are made up."""
    graph, rng, asked = engine.graph, np.random.default_rng(0), []

    def score(layer: str, mask: Tensor) -> float:
        asked.append((layer, mask))
        return float(rng.uniform(50, 90))

    def view(layer: str) -> LayerView:
        return LayerView(layer, graph.group(layer).weights_NM(engine.weights))

    layers = graph.arrange(trial.layers_among(graph.groups))
    found = schedule(trial, layers, view, Costs(engine.traced, engine.splits.input_shape), score, 90.0)
    return tuple(found.order), 0 if trial.matched_trial_id else len(asked)


MASKS_WITHOUT_END = 16
"""Filters from which on a search finds masks to try until its candidates are spent."""


def _asked(trial: TrialSpec, facts: Facts, layers: Sequence[str]) -> np.ndarray:
    """:attr:`Shape.asked` of a trial."""
    sizes = np.array([facts.graph.group(layer).num_filters for layer in layers])
    numbers = [asked(trial, int(size), facts.num_val) for size in sizes]
    found = np.array([(number.masks_per_update, *number.updates, *number.searched) for number in numbers], float).T
    if trial.matched_trial_id is None and build_decision(trial).spends and limit(trial, facts.num_val) is not None:
        found[-2] = np.where(sizes >= MASKS_WITHOUT_END, found[-1], found[-2])
    return found


def joint_work(trial: TrialSpec, num_val: int) -> tuple[int, int]:
    """:attr:`Shape.joint` of a trial, at most; without credit little is left for a second pass."""
    spec = trial.postprocess.joint
    if spec is None:
        return 0, 0
    return spec.passes if trial.lent(1.0) else 1, most_in_a_pass(spec, limit(trial, num_val))


def low_rank_work(trial: TrialSpec, facts: Facts) -> tuple[float, float, float, bool] | None:
    """:attr:`Shape.low_rank` of a trial; ranks that no rule fixes are found by bisection."""
    spec = trial.postprocess.low_rank
    if spec is None:
        return None
    able = {
        layer: next(ranks[scheme] for scheme in spec.schemes if scheme in ranks)
        for layer, ranks in facts.full_ranks.items()
        if not ranks.keys().isdisjoint(spec.schemes) and (isinstance(spec.layers, str) or layer in spec.layers)
    }
    searched = trial.matched_trial_id is None and all(getattr(spec, rule) is None for rule in RULES)
    scores = np.mean([1 + bisection_steps(rank) if searched else 1 for rank in able.values()] or [1])
    prunable = {member.layer for group in facts.graph.groups.values() for member in group.members}
    surely = [layer for layer in able if spec.layers != "whole" or layer not in prunable]  # the others may lose filters
    return len(surely), len(able), float(scores), spec.finetune


def share_when_hopeless(trial: TrialSpec, facts: Facts, num_classes: int) -> float:
    """The share of the images after which scoring a hopeless candidate stops; 1 where it never stops.

    A network at chance level classifies about one in ``num_classes`` images correctly, and images with small margins
    come first. Scoring stops once as many images are wrong as the baseline has wrong plus what the reward's floor
    allows.
    """
    score = ASSUMED_SCORE if facts.checkpoint_score is None else facts.checkpoint_score
    bound = trial.drop_bound if trial.drop_bound is not None else score - (trial.score_floor or 0.0)
    largest = REWARDS.build(trial.reward.name, trial.reward.settings).largest_drop(max(bound, 0.0))
    if largest is None or facts.score_unit != "percent":
        return 1.0
    return float(min(1.0, (100.0 - score + largest) / 100.0 / (1.0 - 1.0 / max(2, num_classes))))


def _interval(values: Sequence[float]) -> Interval:
    low, mid, high = np.quantile(values, (0.1, 0.5, 0.9))
    return float(low), float(mid), float(high)
