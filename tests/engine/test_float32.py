"""A program's own settings of float32 change no score, and are there again afterwards, by whichever interface."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from raprune.engine.arithmetic import exact_arithmetic, same_arithmetic
from raprune.engine.float32 import Digits, digits, put_back, tf32
from raprune.network.state import State
from tests.tiny import engine_of, lively_short, own_labels

BACKENDS = torch.backends
newer = pytest.mark.skipif(not hasattr(BACKENDS, "fp32_precision"), reason="this torch has the older interface alone")
ASKED: dict[str, Any] = {
    "nothing": lambda: None,
    "high": lambda: torch.set_float32_matmul_precision("high"),
    "medium": lambda: torch.set_float32_matmul_precision("medium"),
    "no TF32": lambda: setattr(BACKENDS.cudnn, "allow_tf32", False),
    "all TF32": lambda: setattr(BACKENDS, "fp32_precision", "tf32"),
    "all bfloat16": lambda: setattr(BACKENDS, "fp32_precision", "bf16"),
    "all IEEE": lambda: setattr(BACKENDS, "fp32_precision", "ieee"),
    "convolutions on a GPU": lambda: setattr(BACKENDS.cudnn.conv, "fp32_precision", "ieee"),
    "products on a GPU": lambda: setattr(BACKENDS.cuda.matmul, "fp32_precision", "tf32"),
    "convolutions on a processor": lambda: setattr(BACKENDS.mkldnn.conv, "fp32_precision", "bf16"),
    "both interfaces": lambda: (ASKED["medium"](), ASKED["all TF32"](), ASKED["convolutions on a GPU"]()),
}
FULL = {"ieee", "none", "highest", "False"}
OLDER = ("nothing", "high", "medium", "no TF32")
WAYS = [pytest.param(name, marks=() if name in OLDER else newer) for name in ASKED]


@pytest.fixture(autouse=True)
def _torchs_own() -> Iterator[None]:
    """The settings that torch has when it is imported."""
    before = digits()
    parts = {place: "tf32" if place in (("cuda", "conv"), ("cuda", "rnn")) else "none" for place in before.places}
    put_back(Digits(parts, "highest", True))
    yield
    put_back(before)


def in_force() -> list[str]:
    """What torch computes in; the older interface where there is no newer one."""
    if not hasattr(BACKENDS, "fp32_precision"):
        return [torch.get_float32_matmul_precision(), str(BACKENDS.cudnn.allow_tf32)]
    places = (BACKENDS.cudnn.conv, BACKENDS.cudnn.rnn, BACKENDS.cuda.matmul, BACKENDS.mkldnn.conv)
    return [place.fp32_precision for place in (*places, BACKENDS.mkldnn.rnn, BACKENDS.mkldnn.matmul)]


@pytest.mark.parametrize("name", WAYS)
def test_all_digits_are_computed_whatever_was_asked_for(name: str) -> None:
    ASKED[name]()
    before = digits(), in_force()
    with same_arithmetic():
        exact_arithmetic(torch.device("cpu"))
        assert set(in_force()) <= FULL
        assert torch.get_float32_matmul_precision() == "highest"
        assert not BACKENDS.cuda.matmul.allow_tf32
        assert not BACKENDS.cudnn.allow_tf32
        with tf32():
            assert BACKENDS.cuda.matmul.allow_tf32
            assert BACKENDS.cudnn.allow_tf32
            assert torch.get_float32_matmul_precision() == "high"
        assert set(in_force()) <= FULL
    assert (digits(), in_force()) == before


@pytest.mark.parametrize("name", WAYS)
def test_reading_the_settings_changes_none(name: str) -> None:
    ASKED[name]()
    before = in_force()
    assert digits() == digits()
    assert in_force() == before


def test_the_settings_in_the_tests_are_torchs_own() -> None:
    code = "from raprune.engine.float32 import digits; print(digits())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(digits())


@pytest.mark.parametrize("name", ["medium", pytest.param("all bfloat16", marks=newer)])
def test_a_programs_settings_change_no_logit(name: str) -> None:
    """On a processor with instructions for bfloat16 they would change each by a hundredth."""
    network = lively_short()
    splits = own_labels(network, 8)

    def logits() -> torch.Tensor:
        engine = engine_of(network, splits)
        with torch.inference_mode():
            return engine.forward(State.baseline("baseline"))(engine.as_input(engine.splits.val.images_BCHW))

    expected = logits()
    ASKED[name]()
    assert torch.equal(logits(), expected)


def test_filters_of_warnings_are_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is a GPU, one of them is set; here torch is told that there is one, as no tensor goes to it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    before = list(warnings.filters), torch.are_deterministic_algorithms_enabled(), BACKENDS.cudnn.deterministic
    with same_arithmetic():
        exact_arithmetic(torch.device("cuda"))
        assert list(warnings.filters) != before[0]
        assert torch.are_deterministic_algorithms_enabled()
    after = list(warnings.filters), torch.are_deterministic_algorithms_enabled(), BACKENDS.cudnn.deterministic
    assert after == before
