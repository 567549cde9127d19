"""Data that changed on disk while one process read them twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from raprune.baseline.prepare import prepare_baseline
from raprune.errors import InputError
from raprune.launch import run_study
from raprune.preflight.checks import load_and_inspect
from tests.launch.runs import Watch

ON_DISK = """
name: disk
model: {{name: vgg16, width: 0.0625}}
dataset: {{name: image_folder, root: '{root}/images', size: 32, resize: 32, num_val: 40}}
baseline: {{epochs: 2, batch_size: 10}}
finetune: {{batch_size: 10}}
layers: [features.0]
drop_bound: 20.0
method: magnitude
"""


def write_folder(folder: Path, per_class: int, seed: int = 0) -> None:
    """Dark and bright images, of a class each."""
    noise = np.random.default_rng(seed)
    for name, low in (("bright", 160), ("dark", 0)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for index in range(per_class):
            pixels = noise.integers(low, low + 96, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index}.png")


def test_data_that_changed_on_disk_are_read_again(tmp_path: Path) -> None:
    """In one process: between two checks, between a check and the run, and between two runs."""
    file = tmp_path / "disk.yaml"
    file.write_text(ON_DISK.format(root=tmp_path))
    write_folder(tmp_path / "images", per_class=40)
    _, facts = load_and_inspect(file)
    assert [fact.num_train for fact in facts.values()] == [40]
    write_folder(tmp_path / "images", per_class=45)
    plan, facts = load_and_inspect(file)
    assert [fact.num_train for fact in facts.values()] == [50]
    folder = tmp_path / "out" / "baselines" / plan.trials[0].baseline_key
    prepare_baseline(plan.trials[0], folder)
    write_folder(tmp_path / "images", per_class=45, seed=1)
    with pytest.raises(InputError, match=rf"built on other images or labels .*\({tmp_path}/images\) returns now"):
        run_study(plan, tmp_path / "out", Watch(), num_evaluators=0)
    outcome = run_study(plan, tmp_path / "new", Watch(), num_evaluators=0)
    assert outcome.exit_code == 0
    write_folder(tmp_path / "images", per_class=45, seed=2)
    with pytest.raises(InputError, match="built on other images or labels"):
        run_study(plan, tmp_path / "new", Watch(), num_evaluators=0)
