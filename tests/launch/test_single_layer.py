"""The agent's filters beat magnitude's and random ones at equal ratios: three baselines, without fine-tuning."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.single_layer import matched_scores, means
from raprune.launch import run_study
from raprune.preflight.checks import load_and_inspect
from raprune.results import read_study
from tests.launch.runs import Watch

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_agent_chooses_better(tmp_path: Path) -> None:
    plan, _ = load_and_inspect(ROOT / "studies" / "digits_single_layer.yaml")
    assert len(plan.trials) == 3 * 13 * 3
    outcome = run_study(plan, tmp_path / "out", Watch(), num_evaluators=0)
    assert outcome.exit_code == 0
    scores = matched_scores(read_study(tmp_path / "out"))
    assert scores["baseline_seed"].nunique() == 3
    mean = means(scores).loc["all"]
    for split in ("val_score", "test_score"):
        assert mean.loc["agent", split] > mean.loc["magnitude", split]
        assert mean.loc["agent", split] > mean.loc["random", split]
