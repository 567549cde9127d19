"""How well the agent learns, by the two learning rates of its policy: ``python benchmarks/policy_rates.py``.

A layer of a trained VGG-16 (digits) gets 16 additional filters that nothing reads, larger than its own 16. Without the
magnitude prior and without a search after learning, the agent must prune these dead filters. For each pair of rates and
number of updates, and for four seeds, prints the dead filters that it found (of 16) and the highest reward it saw.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from raprune.plugins.methods.agent import Agent, AgentSettings
from raprune.plugins.methods.base import LayerView
from raprune.registry import DECISIONS
from tests.tiny import Trained, candidates_of, engine_of, train_small, with_dead_filters

RATES = ((0.01, 0.01), (0.01, 0.1), (0.001, 0.01), (0.001, 0.1), (0.001, 0.2))
UPDATES = (30, 60, 150)
SEEDS = range(4)
LAYER, CONSUMER = "features.14", "features.17"


def learn(trained: Trained, rates: tuple[float, float], num_updates: int, seed: int) -> tuple[int, float]:
    """Dead filters pruned by the mask of highest reward, and that reward."""
    network, dead = with_dead_filters(trained.network, LAYER, CONSUMER, seed)
    engine = engine_of(network, trained.splits)
    candidates = candidates_of(engine, LAYER, drop_bound=2.0)
    settings = AgentSettings(
        learning_rate=rates[0], logit_learning_rate=rates[1], min_updates=num_updates, max_updates=num_updates,
        magnitude_prior=0.0, converged_entropy=0.0,
    )  # fmt: skip
    view = LayerView(LAYER, engine.weights[f"{LAYER}.weight"].flatten(1))
    ranking = Agent(settings).rank(view, candidates, torch.Generator().manual_seed(seed))
    keep_mask = DECISIONS.build("reward", {}).decide(ranking, candidates)
    return int((~keep_mask)[dead].sum()), max(row["reward"] for row in candidates.rows)


def main() -> None:
    trained = train_small()
    print("network rate  logit rate  updates  dead found of 16  highest reward")
    for rates in RATES:
        for num_updates in UPDATES:
            found = [learn(trained, rates, num_updates, seed) for seed in SEEDS]
            dead = " ".join(f"{number:2d}" for number, _ in found)
            reward = sum(reward for _, reward in found) / len(found)
            print(f"{rates[0]:<12g}  {rates[1]:<10g}  {num_updates:<7d}  {dead:<16}  {reward:.2f}", flush=True)


if __name__ == "__main__":
    main()
