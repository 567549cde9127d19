"""A lack of memory, of a machine or of its GPU, says what to do: on an evaluator, in a trial's row, on the terminal."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from raprune.errors import EvaluatorError, in_words, naming_memory
from raprune.evaluators.ray_pool import EvaluatorProcess
from raprune.study.parts import EvaluatorsSpec
from raprune.trial.rows import describe_error

OF_MACHINE = "this machine has run out of memory: use smaller batches or images, or fewer evaluators"
OF_GPU = "the GPU has run out of memory: use a smaller scoring.batch_size, finetune.batch_size or evaluators.cache_gib"


def filled() -> None:
    torch.empty(2**60, dtype=torch.uint8)


def in_python() -> None:
    raise MemoryError


def on_a_gpu() -> None:
    """As torch does: there is no memory of a GPU on every machine that could be filled."""
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nmore")


@pytest.mark.parametrize(("fill", "said"), [(filled, OF_MACHINE), (in_python, OF_MACHINE), (on_a_gpu, OF_GPU)])
def test_a_lack_of_memory_says_what_to_do(fill: Callable[[], None], said: str) -> None:
    with pytest.raises((MemoryError, RuntimeError)) as found:
        fill()
    assert (in_words(found.value) or "").startswith(said)
    first, *_ = describe_error(found.value, "host").splitlines()
    assert f": {said}" in first
    evaluator = EvaluatorProcess("e", EvaluatorsSpec(), "cpu")
    with pytest.raises(EvaluatorError) as found_there, evaluator._call("as every call"):
        fill()
    assert str(found_there.value) == in_words(found.value)


@pytest.mark.parametrize("error", [KeyError("x"), RuntimeError("shapes differ"), EvaluatorError("x")])
def test_other_errors_are_as_they_were(error: Exception) -> None:
    with pytest.raises(type(error)) as found, naming_memory():
        raise error
    assert found.value is error
    assert describe_error(error, "host").startswith(f"{type(error).__name__}: {error}\n")
