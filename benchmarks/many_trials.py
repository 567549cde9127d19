"""A study of a thousand trials, each as small as a trial can be: ``python -m benchmarks.many_trials``, half an hour.

Printed every hundred trials: the memory of the process that runs the study (resident set) and the seconds per trial,
nearly all of which are raprune's own. ``--evaluators 1`` runs it on Ray. The network has two convolutions; every seed
has a baseline and a split of the data of its own.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from torch import nn

from raprune.launch import run_study
from raprune.study import load_study

STUDY = """
name: many_trials
model: {{import: "benchmarks.many_trials:network"}}
dataset: {{name: digits, num_val: 100, num_test: 100}}
baseline: {{epochs: 3, learning_rate: 0.1, batch_size: 32}}
finetune: {{after_layer: {{steps: 1}}, at_end: {{steps: 0}}}}
guard: 0
candidates_per_layer: 4
method: random
keep_models: best
sweep:
  seed: [{seeds}]
  drop_bound: [{bounds}]
"""


def network(num_classes: int, input_shape: tuple[int, int, int]) -> nn.Module:
    """Two convolutions of 8 filters and a linear layer."""
    layers = [nn.Conv2d(input_shape[0], 8, 3, stride=4), nn.BatchNorm2d(8), nn.ReLU()]
    layers += [nn.Conv2d(8, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(8 * 3 * 3, num_classes))


class Meter:
    """The watch of a study that prints its process's memory after every ``each`` trials."""

    def __init__(self, each: int) -> None:
        self.each, self.ended_trials, self.began = each, 0, time.perf_counter()

    def phase(self, text: str) -> None:
        if text:
            print(f"{text}: {resident_mb():.0f} MB", flush=True)
        self.began = time.perf_counter()

    def evaluators(self, text: str) -> None:
        print(text)

    def told(self, trial_id: str, progress: dict[str, Any]) -> None:
        pass

    def ended(self, trial_id: str, status: str, folder: Path) -> None:
        self.ended_trials += 1
        if self.ended_trials % self.each == 0:
            seconds = (time.perf_counter() - self.began) / self.each
            files = len(os.listdir("/proc/self/fd"))
            print(f"{self.ended_trials:6d} trials{resident_mb():8.0f} MB{seconds:8.3f} s a trial, {files} open files",
                  flush=True)  # fmt: skip
            self.began = time.perf_counter()


def resident_mb() -> float:
    """Of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def study_text(seeds: int, bounds: int) -> str:
    return STUDY.format(
        seeds=", ".join(map(str, range(seeds))), bounds=", ".join(f"{20 + bound / 2:g}" for bound in range(bounds))
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--bounds", type=int, default=10)
    parser.add_argument("--each", type=int, default=100, help="trials between two lines [default: 100]")
    parser.add_argument("--evaluators", type=int, default=0, help="on Ray; 0: in this process [default: 0]")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "many_trials.yaml"
        file.write_text(study_text(given.seeds, given.bounds))
        outcome = run_study(load_study(file), Path(scratch) / "out", Meter(given.each), num_evaluators=given.evaluators)
    print(outcome.summary())


if __name__ == "__main__":
    main()
