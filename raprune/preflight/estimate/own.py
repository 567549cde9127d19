"""Times what a trial does itself, beside its evaluators: the agent's updates, the memo, rows, sizes, files.

The method decides a real layer through the real :class:`~raprune.trial.candidates.Candidates` and a memo on disk; the
scores that it is given are made up and take no time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from raprune.evaluators.base import EvaluatedMask, Evaluator
from raprune.evaluators.memo import Conditions, Memo, Memoised
from raprune.launch.in_flight import masks_per_update
from raprune.network.masks import KeepMask
from raprune.network.sizes import Sizes
from raprune.network.state import State
from raprune.plugins.methods.base import LayerView, Method
from raprune.plugins.scores.base import Scored, Tally
from raprune.preflight.estimate import clock
from raprune.preflight.estimate.clock import seconds
from raprune.registry import METHODS, REWARDS
from raprune.results.write import write_table
from raprune.study import FinetuneLength, TrialSpec
from raprune.study.budget import BudgetSpec
from raprune.trial.budget import Account, BudgetSpent, TrialBudget
from raprune.trial.candidates import Candidates, Scale
from raprune.trial.snapshots import Snapshots

UPDATES = 6
"""Of a layer's agent that are timed."""
MOST_SEARCHED = 32
"""Masks at most that the method may ask for after them."""
BASELINE_SCORE = 90.0
"""Of the network in the made-up scores, percent."""


@dataclass(frozen=True)
class Own:
    """Seconds and bytes of a trial's own work on one layer."""

    start_s: float
    """Before the first candidate: reading the weights, making the agent."""
    update_s: float
    """An update of the agent and all that is written down about its masks."""
    search_s: float
    """What is written down about a mask scored alone."""
    commit_s: float
    """The network's size, the state's and the layer's files."""
    candidate_bytes: float
    """A row of ``candidates`` and a line of the memo."""
    agent_bytes: int
    """The files of the layer's agent."""


@dataclass
class _MadeUp:
    """An evaluator whose scores are drawn, and when it was asked."""

    scale: Scale
    num_images: int
    asked: list[float] = field(default_factory=list)
    answered: list[float] = field(default_factory=list)

    def evaluate(
        self,
        state: State,
        layer: str,
        masks: Sequence[KeepMask],
        lowest: float | None,
        starts: Sequence[Tally | None] | None = None,
    ) -> list[EvaluatedMask]:
        self.asked.append(clock.now())
        del state, layer, starts
        generator = torch.Generator().manual_seed(len(self.asked))
        drops = torch.rand(len(masks), generator=generator) * 2 * self.scale.drop_bound
        found = []
        for drop in drops.tolist():
            score = self.scale.baseline_score - drop
            tally = Tally([round(score)], [self.num_images], self.num_images, score, True)
            found.append(EvaluatedMask(Scored(tally.score(lowest), self.num_images, 0.01, tally), "evaluator-0"))
        self.answered.append(clock.now())
        return found

    def gaps(self, first: int, last: int) -> float:
        """Mean seconds from an answer to the next question, of the questions ``first`` to ``last``."""
        last = min(last, len(self.asked) - 1)  # the memo answers what an update asks for again
        gaps = [self.asked[place + 1] - self.answered[place] for place in range(first, last)]
        return sum(gaps) / max(1, len(gaps))


def own_costs(trial: TrialSpec, sizes: Sizes, layer: str, num_images: int) -> Own:
    """What a trial does itself for ``layer`` of the untouched network, with its method."""
    torch.set_num_threads(trial.scoring.threads)
    reward = REWARDS.build(trial.reward.name, trial.reward.settings)
    scale = Scale(BASELINE_SCORE, trial.drop_bound or 2.0, reward)
    state = State.baseline(trial.baseline_key)
    made_up = _MadeUp(scale, num_images)
    conditions = Conditions({}, {}, {}, {}, 0, "", "", "", "", None, "cpu")
    with tempfile.TemporaryDirectory(prefix="raprune-estimate-") as scratch:
        folder = Path(scratch)
        evaluator = Memoised(cast(Evaluator, made_up), Memo(folder / "memo"), conditions)
        start = clock.now()
        view = view_of(sizes, layer)
        number = UPDATES * masks_per_update(trial) + MOST_SEARCHED
        trial_budget = TrialBudget(Account(BudgetSpec(candidates=number), 0.0, {}), "", 0)
        candidates = Candidates(evaluator, state, layer, view.num_filters, scale, lambda _: None, trial_budget)
        agent = _decide(trial, view, candidates)
        num_updates, num_asked = len(candidates.update_rows), len(made_up.asked)
        begun = (made_up.asked or [clock.now()])[0]
        alone = Candidates(evaluator, state, layer, view.num_filters, scale, lambda _: None)
        for index in range(UPDATES):
            mask = torch.ones(view.num_filters, dtype=torch.bool)
            mask[index % view.num_filters] = view.num_filters == 1
            alone([mask])
        asked = max(1, len(candidates.rows))
        trained = trial.finetune.after_layer != FinetuneLength(steps=0)
        committed = state.trained(sizes.weights) if trained else state  # its weights are written and hashed
        files_s = seconds(lambda: _write(folder, candidates, committed, agent))
        rows = folder / "candidates.parquet"
        empty = folder / "empty.parquet"
        write_table(empty, "candidates", [])
        memo_bytes = sum(file.stat().st_size for file in (folder / "memo").glob("*")) / max(1, len(made_up.asked))
        row_bytes = (rows.stat().st_size - empty.stat().st_size) / asked
        agents = sum(file.stat().st_size for file in (folder / "state").glob("*.agent.safetensors"))
    return Own(
        start_s=begun - start, update_s=made_up.gaps(0, num_updates - 1),
        search_s=made_up.gaps(num_asked, len(made_up.asked) - 1),
        commit_s=seconds(lambda: sizes.of(committed)) + files_s,
        candidate_bytes=row_bytes + memo_bytes, agent_bytes=agents,
    )  # fmt: skip


def view_of(sizes: Sizes, layer: str) -> LayerView:
    """A layer of the untouched network as a method sees it."""
    tensors = State.baseline("").tensors(sizes.graph, sizes.weights)
    return LayerView(layer, sizes.graph.group(layer).weights_NM(tensors))


def _decide(trial: TrialSpec, view: LayerView, candidates: Candidates) -> dict[str, Tensor]:
    """Let the method begin to decide; gives back what its agent would keep, where it came to an end."""
    settings = dict(trial.method.settings)
    shorter = {"min_updates": 1, "max_updates": min(UPDATES, settings.get("max_updates", 1)), "trim": False}
    settings |= {key: value for key, value in shorter.items() if key in settings}
    method: Method = METHODS.build(trial.method.name, settings)
    try:
        return dict(method.decide(view, candidates, torch.Generator().manual_seed(0)).agent_state)
    except BudgetSpent:
        return {}


def _write(folder: Path, candidates: Candidates, state: State, agent: dict[str, Tensor]) -> None:
    """The files of a layer."""
    Snapshots(folder / "state", state.baseline_key).save(0, state, agent)
    keys = {"study": "estimate", "trial_id": "0" * 12}
    for name, rows in (("updates", candidates.update_rows), ("candidates", candidates.rows)):
        write_table(folder / f"{name}.parquet", name, [keys | row for row in rows])
