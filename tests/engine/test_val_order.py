"""The order of val is computed once and kept: other machines follow it, whatever margins they would compute."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from raprune.baseline.prepare import prepare_baseline
from raprune.engine import open_engine
from raprune.engine.val_order import ORDER_FILE, load_order, save_order
from raprune.engine.workload import Workload
from raprune.errors import InputError
from raprune.network.masks import KeepMask
from raprune.network.state import State
from raprune.plugins.scores.base import Tally
from raprune.study import load_study
from raprune.study.parts import EvaluatorsSpec
from tests.tiny import write_study


def test_it_is_a_permutation_or_refused_by_the_files_name(tmp_path: Path) -> None:
    save_order(torch.tensor([2, 0, 1]), tmp_path)
    assert load_order(tmp_path, 3).tolist() == [2, 0, 1]
    for order, number in (([2, 0, 1], 4), ([0, 0, 1], 3), ([0, 1, 3], 3)):
        save_order(torch.tensor(order), tmp_path)
        with pytest.raises(InputError, match=f"{ORDER_FILE} does not hold an order of the {number} validation images"):
            load_order(tmp_path, number)


def test_engines_count_in_the_order_that_lies_with_the_baseline(reference: Path, tmp_path: Path) -> None:
    trial = load_study(write_study(tmp_path)).trials[0]
    folder = tmp_path / "baseline"
    shutil.copytree(reference / "baselines" / trial.baseline_key, folder)
    first = prepare_baseline(trial, folder)
    order = load_order(folder, 200)
    assert not torch.equal(order, torch.arange(200))

    def tally(start: Tally | None = None) -> Tally:
        engine = open_engine(Workload.of(trial, folder), "cpu", EvaluatorsSpec())
        mask = KeepMask.of(torch.arange(engine.graph.group("features.0").num_filters) == 0)
        return engine.evaluate(
            State.baseline(trial.baseline_key), "features.0", mask, None if start else 95.0, start
        ).tally

    early = tally()
    assert 0 < early.num_images < 200
    whole = tally(early)
    (folder / ORDER_FILE).unlink()  # as an earlier version left it
    again = prepare_baseline(trial, folder)
    assert torch.equal(load_order(folder, 200), order)
    assert again == first
    save_order(order.flip(0), folder)  # as another machine's margins would have it
    with pytest.raises(InputError, match=ORDER_FILE):
        tally()
    save_order(order, folder)
    assert tally(early) == whole
