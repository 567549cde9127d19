"""A keep mask is one value: what it refuses, what it hashes, and what it knows."""

from __future__ import annotations

import pickle

import pytest
import torch

from raprune.network.masks import KeepMask, keep_first


def test_one_content_is_one_mask() -> None:
    kept = torch.tensor([True, False, True, True])
    mask = KeepMask.of(kept, 4)
    assert mask == KeepMask(b"\1\0\1\1") == KeepMask.of(kept)
    assert len({mask, KeepMask.of(kept), KeepMask.whole(4)}) == 2
    assert torch.equal(mask.tensor, kept)
    assert mask.tensor is mask.tensor
    assert (mask.num_filters, mask.num_kept, mask.pruning_ratio, mask.keeps_all) == (4, 3, 0.25, False)
    assert mask.flags == [True, False, True, True]
    assert KeepMask.whole(4).keeps_all
    assert KeepMask.of(keep_first([2, 0, 1], 2)).flags == [True, False, True]


def test_what_was_handed_over_may_change_afterwards() -> None:
    kept = torch.tensor([True, False])
    mask = KeepMask.of(kept)
    kept[0] = False
    assert mask.tensor.tolist() == [True, False]


def test_it_travels_as_its_key() -> None:
    mask = KeepMask.of(torch.arange(512) % 3 == 0)
    before = len(pickle.dumps(mask))
    assert mask.tensor.any()
    assert len(pickle.dumps(mask)) == before < 600
    assert pickle.loads(pickle.dumps(mask)) == mask


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (torch.zeros(4, dtype=torch.bool), "must keep at least one filter"),
        (torch.ones(4), r"must be bool of shape \(4,\); got torch.float32 of shape \(4,\)"),
        (torch.ones(5, dtype=torch.bool), r"must be bool of shape \(4,\); got torch.bool of shape \(5,\)"),
        (torch.ones(2, 2, dtype=torch.bool), r"must be bool of shape \(4,\); got torch.bool of shape \(2, 2\)"),
    ],
)
def test_anything_else_is_refused(wrong: torch.Tensor, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        KeepMask.of(wrong, 4)


@pytest.mark.parametrize(("key", "why"), [(b"\0\0", "at least one filter"), (b"", "at least one"), (b"\1\2", "0 or 1")])
def test_a_key_that_is_none_is_refused(key: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        KeepMask(key)
