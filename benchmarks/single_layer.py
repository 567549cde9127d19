"""The agent's masks beside magnitude's and random ones at the same ratios, without fine-tuning.

    raprune study studies/digits_single_layer.yaml
    python benchmarks/single_layer.py [results/digits_single_layer]

Prints, for every baseline seed and over all, the mean validation and test score over the layers of which the agent
pruned at least a tenth, each layer pruned alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from raprune.results import Tables, read_study

MIN_RATIO = 0.1


def matched_scores(tables: Tables) -> pd.DataFrame:
    """Baseline seed, layers, method, val_score, test_score, pruning_ratio: trials whose partner pruned enough."""
    trials = tables.trials[tables.trials["status"] == "completed"]
    agent = trials[trials["matched_trial_id"].isna()]
    enough = set(agent.loc[agent["pruning_ratio"] >= MIN_RATIO, "trial_id"])
    partner = trials["matched_trial_id"].fillna(trials["trial_id"])
    return trials[partner.isin(enough)]


def means(scores: pd.DataFrame) -> pd.DataFrame:
    """Means by baseline seed and method, then over all seeds."""
    columns = ["pruning_ratio", "val_score", "test_score"]
    by_seed = scores.groupby(["baseline_seed", "method"])[columns].mean().round(3)
    overall = scores.groupby("method")[columns].mean().round(3)
    overall.index = pd.MultiIndex.from_product([["all"], overall.index], names=by_seed.index.names)
    return pd.concat([by_seed, overall])


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "results/digits_single_layer")
    tables = read_study(folder)
    scores = matched_scores(tables)
    agents = scores[scores["method"] == "agent"]
    settings = agents["method_settings"].iloc[0]
    print(
        f"{len(agents)} of {int((tables.trials['method'] == 'agent').sum())} layers pruned by at least {MIN_RATIO:.0%}"
    )
    print(f"baselines: val {agents.groupby('baseline_seed')['baseline_val_score'].first().tolist()}")
    print(f"           test {agents.groupby('baseline_seed')['baseline_test_score'].first().tolist()}")
    print(f"agent: {settings}")
    print(means(scores).to_string())
    early = scores[scores["layers"].isin(['["features.0"]', '["features.3"]', '["features.7"]'])]
    print("the three lowest layers alone:")
    print(means(early).loc["all"].to_string())


if __name__ == "__main__":
    main()
