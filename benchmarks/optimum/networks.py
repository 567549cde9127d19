"""The networks whose layers of 16 filters are scored, and how their baselines are made again."""

from __future__ import annotations

import os
from pathlib import Path

from raprune.baseline.prepare import prepare_baseline
from raprune.engine.workload import Workload
from raprune.study import load_study

STUDIES = {
    "digits": """
name: optimum
model: {{name: vgg16, width: 0.0625}}
dataset: {{name: digits, num_val: 500, num_test: 400, split_seed: {seed}}}
baseline: {{epochs: 15, learning_rate: 0.02, weight_decay: 0.005, batch_size: 16, seed: {seed}}}
finetune: {{before_reward: {{steps: 0}}}}
fidelity: {{{fidelity}}}
scoring: {{batch_size: 100}}
drop_bound: 2.0
guard: 0
""",
    "resnet20": """
name: optimum
model: {{name: cifar_resnet}}
dataset:
  name: image_parquet
  train: $RAPRUNE_DATA/cifar10/test.parquet
  num_val: 500
  normalisation: imagenet
  split_seed: {seed}
baseline: {{checkpoint: $RAPRUNE_DATA/models/resnet20_cifar10_jpeg.pt}}
residual: independent
finetune: {{before_reward: {{steps: 0}}, batch_size: 64}}
fidelity: {{{fidelity}}}
scoring: {{batch_size: 100}}
drop_bound: 2.0
guard: 0
""",
}
"""Two networks with layers of 16 filters.

A VGG-16 at width 1/16, whose third block has them; every seed splits the digits and trains it anew. And a trained
ResNet-20, whose first stage has them; every seed draws 500 other images from those that it has not seen.
"""
LAYERS = {
    "digits": ("features.14", "features.17", "features.20"),
    "resnet20": ("layer1.0.conv1", "layer1.1.conv1", "layer1.2.conv1"),
}


def workload_of(network: str, seed: int, recalibration_batches: int | None, folder: Path) -> Workload:
    """What is needed to score candidates; the baseline is trained, or read from ``folder`` where it exists."""
    if network == "resnet20" and not os.environ.get("RAPRUNE_DATA"):
        raise SystemExit("resnet20 needs a checkpoint and CIFAR-10 images: set RAPRUNE_DATA to their folder")
    number = recalibration_batches
    fidelity = "" if number is None else f"finetune: recalibrate, recalibration_batches: {number}"
    place = folder / f"{network}-{seed}"
    place.mkdir(parents=True, exist_ok=True)
    study = place / f"study{'' if number is None else f'-{number}'}.yaml"
    study.write_text(STUDIES[network].format(seed=seed, fidelity=fidelity))
    trial = load_study(study).trials[0]
    prepare_baseline(trial, place / "baseline")
    return Workload.of(trial, place / "baseline")
