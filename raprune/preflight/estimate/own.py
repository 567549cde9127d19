"""Times a trial's own work, without its evaluators: the agent's updates, the memo, rows, sizes, files.

A real trial decides a few layers, with fewer updates; its scores are made up and take no time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import torch

from raprune.engine import Engine
from raprune.engine.inputs import Inputs
from raprune.engine.tasks import Importance, PageCopy, Pictures, Task
from raprune.engine.workload import Baseline
from raprune.evaluators.base import EvaluatedMask
from raprune.evaluators.memo import Conditions, Memo, Memoised
from raprune.network.masks import KeepMask
from raprune.network.state import State
from raprune.plugins.scores.base import Scored, Tally
from raprune.preflight.checks import Facts
from raprune.preflight.estimate import clock
from raprune.registry import METHODS
from raprune.results import TrialStore
from raprune.study import Choice, TrialSpec
from raprune.trial.context import TrialContext
from raprune.trial.run import run_trial

T = TypeVar("T")

MOST_MASKS = 64
"""Most masks that the trial may request, per layer on average."""
BASELINE_SCORE = 90.0
"""Made-up score of the baseline, percent."""


class Own(NamedTuple):
    """A trial's own work on one layer, in seconds, and the bytes that it writes.

    ``layer_s``: independent of the number of masks (reading weights, building the agent, measuring sizes, writing
    files); ``update_s``: per update of the agent; ``search_s``: per mask scored alone.
    """

    layer_s: float
    update_s: float
    search_s: float
    candidate_bytes: float
    agent_bytes: float


class _MadeUp:
    """A trial's evaluator with made-up scores, and its budget; records when it is called and when layers end."""

    def __init__(self, engine: Engine, bound: float, num_images: int, trains: bool, most_masks: int) -> None:
        self.engine, self.bound, self.num_images, self.trains = engine, bound, num_images, trains
        self.left = most_masks
        self.marks: dict[str, float] = {}
        """When the first layer began (""), and when each layer was committed."""
        self.gaps: dict[tuple[str, bool], list[float]] = {}
        """(layer, whether several masks were scored) -> seconds until the trial's next request."""
        self._last: tuple[str, bool, float] | None = None

    def spent(self, trial_id: str, num_candidates: int) -> bool:
        del trial_id, num_candidates
        self.marks.setdefault("", clock.now())
        return self.left <= 0

    def progress(self, news: Mapping[str, Any]) -> None:
        if "committed_pruning_ratio" in news:
            self.marks[news["layer"]] = clock.now()

    def evaluate(
        self, state: State, layer: str, masks: Sequence[KeepMask], lowest: float | None, starts: object = None
    ) -> list[EvaluatedMask]:
        del state, starts
        if self._last is not None and self._last[0] == layer:
            self.gaps.setdefault(self._last[:2], []).append(clock.now() - self._last[2])
        results = []
        for drop in (torch.rand(len(masks), generator=torch.Generator().manual_seed(self.left)) * 2).tolist():
            score = BASELINE_SCORE - drop * self.bound
            tally = Tally([round(score)], [self.num_images], self.num_images, score, True)
            results.append(EvaluatedMask(Scored(tally.score(lowest), self.num_images, 0.01, tally), "evaluator-0"))
        self.left -= len(masks)
        self._last = (layer, len(masks) > 1, clock.now())
        return results

    def run(self, task: Task[T], state: State) -> T:
        """Run ``task`` with this object in place of an engine; the importance of filters is really computed."""
        if isinstance(task, Pictures | PageCopy):  # nothing to show
            return cast(T, [] if isinstance(task, Pictures) else None)
        return task.run(self.engine if isinstance(task, Importance) else cast(Engine, self), state)

    def candidate(self, state: State, layer: str, mask: KeepMask) -> State:
        return self.finetune(state.cut(self.engine.graph, layer, mask))

    def finetune(self, state: State, *purpose: str) -> State:
        del purpose
        return state.trained(state.tensors(self.engine.graph, self.engine.weights)) if self.trains else state

    def measure(self, state: State, split: str) -> float:
        del state, split
        return BASELINE_SCORE

    def own(self, layer: str, begin: float) -> tuple[float, float, float]:
        """The trial's own seconds for a layer: without its masks, per update, per mask alone."""
        several, alone = (self.gaps.get((layer, kind), []) for kind in (True, False))
        update_s, search_s = (sum(gaps) / max(1, len(gaps)) for gaps in (several or alone, alone))
        return max(0.0, self.marks[layer] - begin - sum(several) - sum(alone)), update_s, search_s


def own_costs(
    trial: TrialSpec, facts: Facts, engine: Engine, trains: bool, layers: list[str]
) -> tuple[dict[str, Own], float]:
    """The own work of ``trial`` on each of ``layers``, and the seconds of its own work at its beginning and end."""
    bound, most = trial.drop_bound or 2.0, MOST_MASKS * len(layers)
    made_up = _MadeUp(engine, bound, facts.num_val, trains, most)
    with tempfile.TemporaryDirectory(prefix="raprune-estimate-") as scratch:
        store = TrialStore(Path(scratch), trial.study, trial.trial_id)
        context = _context(trial, facts, engine, store, made_up)
        start = clock.now()
        run_trial(_shortened(trial, layers, bound), context)
        ends_s = clock.now() - start
        rows = _bytes(store.folder.glob("candidates-*")) + _bytes(Path(scratch).glob("memo/*"))
        agents = _bytes(store.folder.glob("state/*.agent.*"))
    sizes = (rows / max(1, most - made_up.left), agents / len(layers))
    marks = list(made_up.marks.items())
    own = {layer: Own(*made_up.own(layer, begin), *sizes) for (_, begin), (layer, _) in pairwise(marks)}
    return own, ends_s - (marks[-1][1] - marks[0][1])


def _bytes(files: Iterable[Path]) -> int:
    return sum(file.stat().st_size for file in files)


def _shortened(trial: TrialSpec, layers: list[str], bound: float) -> TrialSpec:
    """``trial`` for a few layers and updates, without a guard and a low-rank step."""
    settings = METHODS.get(trial.method.name).settings.model_validate(trial.method.settings)
    method = Choice(name=trial.method.name, settings=settings.shortened().model_dump())
    return trial.model_copy(
        update={"layers": layers, "drop_bound": bound, "order": Choice(name="low_to_high"), "method": method}
        | {"guard": 0.0, "warranty": None, "postprocess": type(trial.postprocess)()}
    )


def _context(trial: TrialSpec, facts: Facts, engine: Engine, store: TrialStore, made_up: _MadeUp) -> TrialContext:
    folder, workload = store.folder.parents[1], replace(engine.workload, folder=str(store.folder.parents[1]))
    baseline = Baseline(
        trial.baseline_key, str(folder), BASELINE_SCORE, BASELINE_SCORE, facts.num_val, facts.params, facts.macs,
        4 * facts.params, 0.0, None, 0.0, facts.score_unit, engine.splits.num_classes, facts.input_shape,
        data_fingerprint="-", weights_fingerprint="-", val_order_fingerprint="-",
    )  # fmt: skip
    evaluator = Memoised(made_up, Memo(folder / "memo"), Conditions.of(workload, baseline, "cpu"))
    return TrialContext(
        evaluator, Inputs(), workload, baseline, store, None, "", 0, "cpu", made_up.progress, budget=made_up
    )  # fmt: skip
