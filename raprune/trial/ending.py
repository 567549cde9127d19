"""How a trial ends: the final fine-tune, and what the same fine-tuning does to the baseline."""

from __future__ import annotations

from raprune.engine.tasks import Finetune, Measure
from raprune.network.state import State
from raprune.trial.within_bound import Contract


def finish(contract: Contract, state: State, val_score: float, matched: bool) -> tuple[State, float, int]:
    """Run the final fine-tune; keep it only if it is within the bound or no worse than the state before it.

    The guard must allow it, too, except in a matched trial. Returns the state, its score, and how many fine-tunes
    diverged.
    """
    final = contract.evaluator.run(Finetune("final", state.version), state)
    if final.version == state.version:
        return state, val_score, 0
    if contract.diverged(final):
        return state, val_score, 1
    score = contract.evaluator.run(Measure("val"), final)
    kept = contract.scale.keeps(val_score, score) and (matched or contract.allows(final))
    return (final, score, 0) if kept else (state, val_score, 0)


def finetuned_baseline(contract: Contract, baseline_key: str, number: int, stopped: bool) -> float | None:
    """Score of the baseline after ``number`` committed fine-tunes and the final one; ``None`` where that diverges.

    A trial that a budget ``stopped`` has no final one.
    """
    state = State.baseline(baseline_key)
    for _ in range(number):
        state = contract.evaluator.run(Finetune("commit", state.version), state)
    final = state if stopped else contract.evaluator.run(Finetune("final", state.version), state)
    return None if contract.diverged(final) else contract.evaluator.run(Measure("val"), final)
