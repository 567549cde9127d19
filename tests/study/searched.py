"""A study with a search, for tests."""

from __future__ import annotations

from pathlib import Path

from raprune.study import StudyPlan, load_study

STUDY = """\
name: searched
model: {import: 'tests.short:Short'}
dataset: {name: digits, num_val: 100, num_test: 100}
method: magnitude
layers: [features.0]
search:
  over:
    drop_bound: {low: 1, high: 40.0}
    order: [low_to_high, high_to_low]
    candidates_per_layer: {low: 8, high: 64, log: true}
    finetune.after_layer: [{steps: 2}, {epochs: 1}]
  sampler: {name: optuna, num_random: 4}
  trials: 12
  at_once: 3
  at_most: {val_score_drop: 20}
"""


def study(folder: Path, *overrides: str, text: str = STUDY) -> StudyPlan:
    (folder / "s.yaml").write_text(text)
    return load_study(folder / "s.yaml", overrides)
