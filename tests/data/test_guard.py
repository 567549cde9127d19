"""The guard is set aside from val: which images, for which seed, and where there are too few."""

from __future__ import annotations

import pytest
import torch

from raprune.engine.inputs import Inputs
from raprune.errors import InputError
from raprune.plugins.datasets import contents
from raprune.plugins.datasets.base import Split, Splits, set_aside
from raprune.study.schema import Choice, DataChoice


def numbered(num_val: int) -> Splits:
    """A data set whose images are their own places."""

    def split(number: int) -> Split:
        return Split(torch.arange(number, dtype=torch.uint8).view(-1, 1, 1, 1), torch.zeros(number, dtype=torch.long))

    return Splits(split(5), split(num_val), None, 2, (0.0,), (1.0,))


def places(split: Split | None) -> list[int]:
    assert split is not None
    return [int(image) for image in split.images_BCHW.flatten()]


def test_val_is_parted_by_a_seeded_draw() -> None:
    found = set_aside(numbered(40), 0.25, seed=1)
    val, guard = places(found.val), places(found.guard)
    assert len(guard) == 10
    assert sorted(val + guard) == list(range(40))
    assert (val, guard) == (sorted(val), sorted(guard))  # both in their old order
    assert places(set_aside(numbered(40), 0.25, seed=1).guard) == guard
    assert places(set_aside(numbered(40), 0.25, seed=2).guard) != guard


@pytest.mark.parametrize(("num_val", "share"), [(3, 0.5), (10, 0.1), (4, 0.9)])
def test_too_few_images_are_refused(num_val: int, share: float) -> None:
    with pytest.raises(InputError, match="at least two: use more validation images, or set guard: 0"):
        set_aside(numbered(num_val), share, seed=0)


def test_the_guard_depends_on_the_split_alone() -> None:
    settings = {"num_val": 100, "num_test": 50, "split_seed": 3}
    with Inputs() as inputs:
        whole = inputs.data(Choice(name="digits", settings=settings))
        guarded = inputs.data(DataChoice(name="digits", settings=settings, guard=0.25))
        other = inputs.data(DataChoice(name="digits", settings=settings | {"split_seed": 4}, guard=0.25))
    assert whole.guard is None
    assert (len(guarded.val), len(guarded.split("guard"))) == (75, 25)
    assert torch.equal(guarded.train.images_BCHW, whole.train.images_BCHW)
    assert not torch.equal(guarded.split("guard").images_BCHW, other.split("guard").images_BCHW)
    assert contents.of_data(guarded) != contents.of_data(whole)
    with pytest.raises(LookupError, match="no guard split"):
        whole.split("guard")
