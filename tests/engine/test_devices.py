"""A device that torch cannot use here is refused before anything is computed, and the message says what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from raprune.engine.devices import VISIBLE, check_device, has_device
from raprune.errors import InputError
from raprune.evaluators.ray_pool import EvaluatorProcess
from raprune.launch.in_process import InProcessRunner
from raprune.launch.verifying.here import Here
from raprune.preflight.estimate.study import estimate_study
from raprune.study import load_study
from raprune.study.parts import EvaluatorsSpec
from tests.tiny import write_study

without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="torch finds a GPU")
NO_GPU = r"candidates would be scored on cuda on .*, but torch .*use evaluators\.device: cpu"


def test_a_processor_is_always_there() -> None:
    assert has_device("cpu")
    check_device("cpu")
    assert has_device("cuda:0") == torch.cuda.is_available()


@without_gpu
def test_why_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.delenv(VISIBLE, raising=False)
    with pytest.raises(InputError, match="torch finds no GPU there that it can use: use"):
        check_device("cuda")
    monkeypatch.setenv(VISIBLE, "")
    with pytest.raises(InputError, match=f"that it can use \\({VISIBLE} is ''\\): use"):
        check_device("cuda:1")
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(InputError, match=r"is a build for processors alone: install a torch .* or use"):
        check_device("cuda")


@without_gpu
def test_it_is_refused_wherever_candidates_are_scored(tmp_path: Path) -> None:
    plan = load_study(write_study(tmp_path), ["evaluators.device=cuda"])
    inputs: Any = None
    with pytest.raises(InputError, match=NO_GPU):
        InProcessRunner(plan, tmp_path, inputs)
    with pytest.raises(InputError, match=NO_GPU):
        estimate_study(plan, {}, lambda text: None)
    with pytest.raises(InputError, match=NO_GPU):
        EvaluatorProcess("e", EvaluatorsSpec(), "cuda")


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="torch finds a GPU of Apple")
@pytest.mark.parametrize("device", ["mps", pytest.param("cuda", marks=without_gpu)])
def test_results_of_another_device_are_verified_on_what_there_is(device: str, tmp_path: Path) -> None:
    plan = load_study(write_study(tmp_path), [f"evaluators.device={device}"])
    inputs: Any = None
    assert has_device(Here(plan, tmp_path, inputs).device)
    with pytest.raises(InputError, match=f"scored on {device}"):
        check_device(device)
