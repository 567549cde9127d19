"""What a program has set, and a card that is full: on a GPU, with the real settings and the real error."""

from __future__ import annotations

import pytest
import torch

from raprune.errors import in_words
from raprune.network.state import State
from tests.engine.test_float32 import ASKED, WAYS, _torchs_own
from tests.evaluators.test_no_memory import OF_GPU
from tests.tiny import engine_of, lively_vgg, own_labels

__all__ = ["_torchs_own"]

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use")

STATE = State.baseline("baseline")


@pytest.mark.parametrize("name", WAYS)
def test_a_programs_settings_change_no_logit(name: str) -> None:
    """TF32 would change each by a thousandth."""
    network = lively_vgg(0.25)
    splits = own_labels(network, 40)

    def logits() -> torch.Tensor:
        engine = engine_of(network, splits, device="cuda")
        with torch.inference_mode():
            return engine.forward(STATE)(engine.as_input(engine.splits.val.images_BCHW))

    expected = logits()
    ASKED[name]()
    assert torch.equal(logits(), expected)


def test_a_full_card_says_which_settings_help() -> None:
    network = lively_vgg(0.5)
    splits = own_labels(network, 100)
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e-4)
    try:
        with pytest.raises(torch.OutOfMemoryError) as found:
            engine_of(network, splits, device="cuda").measure(STATE, "val")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert (in_words(found.value) or "").startswith(OF_GPU)
