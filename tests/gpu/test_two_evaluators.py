"""Two evaluators on one card give the rows of one in this process, with candidates fine-tuned together or scored alone.

The same test runs on processors, as one of the long ones.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from raprune.launch import run_study
from raprune.study import load_study
from tests.launch.runs import Watch, assert_same_rows
from tests.tiny import write_study

STUDY = """
name: shared
model: {name: vgg16, width: 0.0625}
dataset: {name: digits, num_val: 100, num_test: 50}
baseline: {epochs: 1, learning_rate: 0.02, weight_decay: 0.005, batch_size: 16}
finetune: {after_layer: {steps: 2}}
layers: [features.10, features.40]
scoring: {batch_size: 50}
guard: 0
candidates_per_layer: 12
order: low_to_high
drop_bound: 8.0
method: {name: agent, min_updates: 2, max_updates: 2}
sweep:
  finetune.before_reward: [{steps: 0}, {steps: 2}]
"""
TOGETHER = ["fidelity={together: 3}", "sweep={finetune.before_reward: [{steps: 2}, {steps: 3}]}"]


@pytest.mark.parametrize("overrides", [[], TOGETHER], ids=["alone", "together"])
@pytest.mark.parametrize(
    "device",
    [
        pytest.param("cpu", marks=pytest.mark.slow),
        pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")),
    ],
)
def test_two_evaluators_give_the_rows_of_one(tmp_path: Path, device: str, overrides: list[str]) -> None:
    pytest.importorskip("ray")
    evaluators = f"evaluators={{device: {device}, gpu_share: 0.5}}"
    plan = load_study(write_study(tmp_path, STUDY), [*overrides, evaluators])
    for number in (0, 2):
        assert run_study(plan, tmp_path / str(number), Watch(), num_evaluators=number).exit_code == 0
    assert_same_rows(tmp_path / "0", tmp_path / "2")
