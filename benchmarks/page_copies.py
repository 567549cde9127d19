"""The copies of a study's networks that its report runs: ``python benchmarks/page_copies.py results/quickstart``.

Makes them again from the study's networks and data, and prints what each costs and how near it comes: seconds of a
core, levels of a weight, bytes as the page holds it (gzip, then base64), and right answers of the network and of its
copy. With ``--write`` they replace those in the folder, or are added to a study that an earlier raprune ran.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from raprune.artefact import open_trial
from raprune.engine import Engine, ExactEngine
from raprune.engine.inputs import Inputs
from raprune.engine.page_copy import page_copy
from raprune.engine.workload import Baseline, Workload
from raprune.network.chain import LETTERS
from raprune.network.masks import KeepMask
from raprune.network.state import State, to_arrays
from raprune.results import write_page_copy
from raprune.study import TrialSpec, load_study

HEAD = f"{'network':38} {'cpu s':>5} {'levels':>6} {'gzip':>8} {'in page':>8} {'images':>6} {'network':>7} {'copy':>5}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(HEAD)
    engines: dict[str, Engine] = {}
    with Inputs() as inputs:
        for trial in load_study(arguments.study / "study.yaml").trials:
            _trial(arguments.study, trial, engines, inputs, write=arguments.write)


def _trial(study: Path, trial: TrialSpec, engines: dict[str, Engine], inputs: Inputs, *, write: bool) -> None:
    folder = study / "trials" / trial.trial_id
    if not (folder / "model").is_dir():
        return
    baseline_dir = study / "baselines" / trial.baseline_key
    baseline = Baseline.read(baseline_dir)
    assert baseline is not None
    workload = Workload.of(trial, baseline_dir)
    untouched = State.baseline(trial.baseline_key)
    if workload.key not in engines:
        engines[workload.key] = ExactEngine(workload, inputs=inputs)
        _show("baseline", engines[workload.key], untouched, baseline_dir if write else None, baseline)
    engine, opened = engines[workload.key], open_trial(folder, inputs=inputs)
    masks = {layer: KeepMask(bytes(mask)) for layer, mask in opened.plan.keep_masks.items()}
    state = State(trial.baseline_key, masks, to_arrays(opened.networks["pruned"].state_dict()), opened.plan.factors)
    name = f"{trial.trial_id} {trial.method.name}, bound {trial.drop_bound}"
    _show(name, engine, state, folder / "model" if write else None, baseline)


def _show(name: str, engine: Engine, state: State, folder: Path | None, baseline: Baseline) -> None:
    engine.built(state)
    start = time.process_time()
    copy = page_copy(engine, state)
    seconds = time.process_time() - start
    if folder is not None:
        write_page_copy(folder, copy, baseline.weights_fingerprint)
    if copy is None:
        print(f"{name:35} {seconds:5.2f}  no copy")
        return
    size = len(gzip.compress(json.dumps(copy["steps"], separators=(",", ":")).encode(), 9))
    counts = f"{copy['num_images']:6} {copy['num_right_unrounded']:7} {copy['num_right']:5}"
    print(f"{name:35} {seconds:5.2f} {levels_of(copy):6} {size:8,} {4 * size // 3:8,} {counts}")


def levels_of(copy: Mapping[str, Any]) -> int:
    """How many values a weight can have, for one scale."""
    return 1 + 2 * max(abs(LETTERS.index(x) - 32) for step in copy["steps"] for x in set(step.get("weights", "")))


if __name__ == "__main__":
    main()
