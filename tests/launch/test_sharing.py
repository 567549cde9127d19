"""Decoded data in Ray's object store: evaluators map them, nobody copies them."""

from __future__ import annotations

from pathlib import Path

import torch

from raprune.engine.inputs import Inputs
from raprune.evaluators.sharing import data_bytes, share_data, use_shared
from raprune.study import load_study
from tests.tiny import write_study


def test_data_come_back_whole_and_uncopied(tmp_path: Path, ray_cluster: None) -> None:
    import ray

    trials = load_study(write_study(tmp_path)).trials
    driver, evaluator = Inputs(), Inputs()
    before = driver.data(trials[0].data)
    whole = [s for s in (before.train, before.val, before.test, before.guard) if s is not None]
    assert data_bytes(trials, driver) == sum(s.images_BCHW.nbytes + s.labels_B.nbytes for s in whole)
    refs = share_data(trials, driver)
    assert len(refs) == 1
    use_shared(refs, evaluator)
    after = evaluator.data(trials[0].data)
    assert after is not before
    there = [s for s in (after.train, after.val, after.test, after.guard) if s is not None]
    for one, other in zip(there, whole, strict=True):
        assert torch.equal(one.images_BCHW, other.images_BCHW)
        assert torch.equal(one.labels_B, other.labels_B)
    assert (after.num_classes, after.mean, after.class_names) == (10, before.mean, before.class_names)
    assert after.augment is not None
    arrays, _ = ray.get(next(iter(refs.values()))[0])
    again = arrays["train"][0]
    assert not again.flags.writeable  # the store's own memory
    assert again.ctypes.data == after.train.images_BCHW.data_ptr()
