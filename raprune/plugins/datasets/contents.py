"""Digests of a data set's images and labels.

Of images in memory, and of all that are scored, every pixel counts. Of training images that stay encoded, the bytes of
every file or row count, how they get their size, and the pixels of a few, so that another decoder is noticed.
"""

from __future__ import annotations

import hashlib

from torch import Tensor

from raprune.identity import ENCODED, comparable
from raprune.plugins.datasets.base import Split, Splits

DIGEST_BYTES = 16
CHUNK_IMAGES = 512
"""Images hashed at a time; this bounds the copy that images need that are not contiguous in memory."""


def of_data(splits: Splits) -> str:
    """Digest of what decides a network: train, val and guard, their order, normalisation, number of classes."""
    guard = () if splits.guard is None else (splits.guard,)
    return _of_splits((splits.mean, splits.std, splits.num_classes), splits.train, splits.val, *guard)


def changed(found: str, splits: Splits) -> bool:
    """Whether ``splits`` are certainly other data than those with the fingerprint ``found``, by :func:`of_data`."""
    now = of_data(splits)
    return found != now and comparable(found, now)


def of_test(splits: Splits) -> str:
    """Digest of what only the test score and people read: test, if there is one, and the names of the classes."""
    return _of_splits(splits.class_names, *(() if splits.test is None else (splits.test,)))


def _of_splits(header: object, *splits: Split) -> str:
    blake = hashlib.blake2b(repr(header).encode(), digest_size=DIGEST_BYTES)
    for split in splits:
        if split.stream is not None:
            blake.update(f"encoded{split.stream.digest()}".encode())
        for tensor in (split.images_BCHW, split.labels_B):
            blake.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
            _add(blake, tensor)
    return blake.hexdigest() if all(split.stream is None for split in splits) else ENCODED + blake.hexdigest()


def _add(blake: hashlib.blake2b, tensor: Tensor) -> None:
    for start in range(0, len(tensor), CHUNK_IMAGES):
        blake.update(tensor[start : start + CHUNK_IMAGES].contiguous().numpy().data)
