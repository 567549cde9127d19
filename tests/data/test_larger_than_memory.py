"""A study on an image folder three times as large, decoded, as the memory that it may use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import nn

STUDY = """
name: {name}
model: {{import: 'tests.data.test_larger_than_memory:network'}}
dataset: {{name: image_folder, root: '{root}', size: {size}, num_val: 60}}
baseline: {{epochs: {epochs}, batch_size: 8, learning_rate: 0.05}}
finetune: {{before_reward: {{steps: 1}}, after_layer: {{steps: 3}}, batch_size: 8}}
scoring: {{batch_size: 6}}
layers: ['0']
drop_bound: 60.0
method: {{name: magnitude}}
candidates_per_layer: 3
data: {{memory_gib: {memory_gib}, workers: 0, cache: '{cache}'}}
"""
RUN = """
import sys
from pathlib import Path
from raprune.launch import run_study
from raprune.preflight.checks import load_and_inspect
from tests.launch.runs import Watch

def told(what):
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith(what))

for file in map(Path, sys.argv[1:]):
    before = told("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins anew
    plan, _ = load_and_inspect(file)
    if file.stem != "held":
        assert run_study(plan, file.with_suffix(""), Watch(), num_evaluators=0).exit_code == 0
    print(told("VmHWM") - before)
"""
SIZE, PER_CLASS = 160, 550
DECODED = 2 * PER_CLASS * 3 * SIZE**2
MOST_BYTES = DECODED // 3
"""For images and all that is done with them: beyond what the process holds after a study on few images."""


def network(num_classes: int) -> nn.Module:
    """It halves the images three times at once, so that a batch in training is small beside the images."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 8, stride=8), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.BatchNorm2d(4), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes),
    )  # fmt: skip


def write_images(folder: Path, per_class: int) -> None:
    """Small files of large images: dark ones and bright ones, of many sizes."""
    noise = np.random.default_rng(0)
    for name, low in (("bright", 160), ("dark", 0)):
        (folder / name).mkdir(parents=True)
        for index in range(per_class):
            pixels = noise.integers(low, low + 96, (12 + index % 5, 12 + index % 7, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index}.jpg")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_a_study_on_more_than_fits_into_memory(tmp_path: Path) -> None:
    """The peak of a study that decodes anew; and of opening the same images in memory, so that the measure can tell."""
    write_images(tmp_path / "few", 80)
    write_images(tmp_path / "many", PER_CLASS)
    files = []
    common = {"size": SIZE, "cache": tmp_path / "cache"}
    for name, root, memory_gib, epochs in (("warm", "few", 0, 4), ("anew", "many", 0, 1), ("held", "many", 1, 1)):
        file, root = tmp_path / f"{name}.yaml", tmp_path / root
        file.write_text(STUDY.format(name=name, root=root, memory_gib=memory_gib, epochs=epochs, **common))
        files.append(str(file))
    done = subprocess.run([sys.executable, "-c", RUN, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    _, anew, held = map(int, done.stdout.split())
    assert anew < MOST_BYTES
    assert held > 2 * MOST_BYTES
