"""A program's own data sets as ``Splits``: for ``prune``, and for ``dataset: {import: ...}``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from raprune.api.reading import Images, class_names_of, read_split
from raprune.errors import InputError
from raprune.plugins.datasets.base import VOID, Augment, Split, Splits, check_splits


def splits_of(
    train: Images,
    val: Images,
    test: Images | None = None,
    *,
    num_classes: int,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    ignore_index: int = VOID,
    labels_are: str | None = None,
    augment: Augment | None = None,
) -> Splits:
    """What the function in ``dataset: {import: my_package.data:load}`` returns, from data sets, loaders or tensors.

    Each is read once, in its order, as :func:`raprune.api.prune` reads it: items are (image, label), or name the two.
    ``mean`` and ``std`` normalise uint8 images, after scaling to [0, 1]; floats are used as they are.
    ``labels_are``: ``image`` (one class per image), ``pixel`` or ``target`` (an image), if shapes do not tell.
    ``augment`` changes training batches. Raises :class:`InputError` that names the split and the item.
    """
    parts = {"train": train, "val": val} | ({} if test is None else {"test": test})
    found = {name: read_split(images, name, ignore_index, labels_are) for name, images in parts.items()}
    return replace(joined(found, num_classes, mean, std, class_names_of(train, num_classes)), augment=augment)


def joined(
    found: Mapping[str, Split],
    num_classes: int,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    class_names: tuple[str, ...],
) -> Splits:
    """The splits that were read, put together and checked."""
    images = found["train"].images_BCHW
    if images.is_floating_point():
        if mean is not None or std is not None:
            raise InputError("mean and std: are for uint8 images; these are floats, which are used as they are")
        mean, std = (), ()
    elif mean is None or std is None:
        if (mean is None) != (std is None):
            raise InputError("mean and std: give both; with neither, images are only scaled to [0, 1]")
        mean, std = (0.0,) * images.shape[1], (1.0,) * images.shape[1]
    splits = Splits(
        found["train"], found["val"], found.get("test"), num_classes, tuple(map(float, mean)), tuple(map(float, std)),
        class_names=class_names,
    )  # fmt: skip
    try:
        check_splits(splits)
    except InputError as error:
        raise InputError(f"the data: {error}") from None
    return splits
