"""Digests of a data set's images and labels."""

from __future__ import annotations

import hashlib

from torch import Tensor

from raprune.plugins.datasets.base import Split, Splits

DIGEST_BYTES = 16
CHUNK_IMAGES = 512
"""Images hashed at a time; this bounds the copy that images need that are not contiguous in memory."""


def of_data(splits: Splits) -> str:
    """Digest of what decides a network: train, val and guard, their order, normalisation, number of classes."""
    guard = () if splits.guard is None else (splits.guard,)
    return _of_splits((splits.mean, splits.std, splits.num_classes), splits.train, splits.val, *guard)


def of_test(splits: Splits) -> str:
    """Digest of what only the test score and people read: test, if there is one, and the names of the classes."""
    return _of_splits(splits.class_names, *(() if splits.test is None else (splits.test,)))


def _of_splits(header: object, *splits: Split) -> str:
    blake = hashlib.blake2b(repr(header).encode(), digest_size=DIGEST_BYTES)
    for split in splits:
        for tensor in (split.images_BCHW, split.labels_B):
            blake.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
            _add(blake, tensor)
    return blake.hexdigest()


def _add(blake: hashlib.blake2b, tensor: Tensor) -> None:
    for start in range(0, len(tensor), CHUNK_IMAGES):
        blake.update(tensor[start : start + CHUNK_IMAGES].contiguous().numpy().data)
