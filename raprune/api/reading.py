"""Data sets, loaders and tensors of a program, each read once into a :class:`raprune.plugins.datasets.base.Split`.

Shapes: B images, C channels, H x W pixels.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from raprune.api.boxes import box_rows
from raprune.api.items import LABEL_KEYS, two
from raprune.baseline.prepare import drawn_from
from raprune.errors import InputError, first_line
from raprune.plugins.datasets.base import VOID, Split, images_problem
from raprune.plugins.datasets.boxes import padded_boxes

Images = Dataset[Any] | DataLoader[Any] | Sequence[Any] | tuple[Tensor, Tensor] | list[Tensor]
"""Pairs of image and label (:mod:`raprune.api.items`), or all of them as a pair of tensors."""

CHUNK_IMAGES = 256
SEED = 0
"""Seed of whatever a data set or loader draws while it is read."""
NARROW = (torch.float16, torch.bfloat16)
PAIRS = (
    "must be a data set of (image, label) or of {'image': ..., 'label': ...}, a DataLoader of them, or a pair of "
    "tensors (images, labels)"
)


def read_split(given: Images, name: str, ignore_index: int, labels_are: str | None) -> Split:
    """The images and labels of ``given``, in the order of one pass over it.

    ``labels_are`` is what the score takes (``image``, ``pixel``, ``target``), if that is known; a pixel's label
    ``ignore_index`` becomes ``VOID``. Raises :class:`InputError` that begins with ``name``.
    """
    try:
        if labels_are == "boxes" and not _is_pair_of_tensors(given):
            return _boxed(given)
        images, labels = _pair(given)
        if labels_are == "boxes":
            return Split(_as_images(images), labels.float())
        return Split(_as_images(images), _as_labels(labels, ignore_index, labels_are))
    except InputError as error:
        raise InputError(f"{name}: {error}") from error.__cause__


def what_it_is(given: Images) -> str:
    """A short name for where images come from."""
    if isinstance(given, DataLoader):
        given = given.dataset
    return "tensors" if isinstance(given, tuple | list) else type(given).__name__


def class_names_of(given: Images, number: int) -> tuple[str, ...]:
    """The names that torchvision's data sets have under ``classes``, if there are as many as classes."""
    dataset = given.dataset if isinstance(given, DataLoader) else given
    found = getattr(dataset, "classes", None)
    features = getattr(dataset, "features", None)
    if found is None and isinstance(features, Mapping):  # Hugging Face's
        found = next((names for key in LABEL_KEYS if (names := getattr(features.get(key), "names", None))), None)
    if not isinstance(found, list | tuple) or len(found) != number:
        return ()
    return tuple(str(name) for name in found)


def _pair(given: Images) -> tuple[Tensor, Tensor]:
    if isinstance(given, DataLoader):
        with _seeded(given):
            return _joined(_of_batch(batch, number) for number, batch in enumerate(_told(given, "batch")))
    if _is_pair_of_tensors(given):
        return given[0].detach().cpu(), given[1].detach().cpu()
    with _seeded(None):
        return _joined(_chunks(_data_set(given)))


def _is_pair_of_tensors(given: Any) -> bool:
    return isinstance(given, tuple | list) and len(given) == 2 and all(isinstance(part, Tensor) for part in given)


def _data_set(given: Any) -> Any:
    """``given``, if it looks like a data set."""
    if isinstance(given, Mapping):
        raise InputError(f"{PAIRS}; got a mapping of {', '.join(map(str, given))}: pass one of them")
    parts = [given, *given] if isinstance(given, tuple | list) else [given]
    is_tensors = any(isinstance(part, Tensor | np.ndarray) for part in parts)
    if isinstance(given, Dataset) or (not is_tensors and hasattr(given, "__getitem__") and not isinstance(given, str)):
        return given
    raise InputError(f"{PAIRS}; got {type(given).__name__}")


def _boxed(given: Any) -> Split:
    """Images of a data set or loader with their boxes."""
    images: list[Tensor] = []
    boxes: list[Tensor] = []
    is_loader = isinstance(given, DataLoader)
    with _seeded(given if is_loader else None):
        for index, item in enumerate(_of_batches(given) if is_loader else _items(_data_set(given))):
            what = f"item {index}"
            image, target = two(item, what)
            images.append(_as_tensor(image, f"the image of {what}"))
            if images[-1].dim() != 3 or images[-1].shape != images[0].shape:
                shapes = f"{tuple(images[-1].shape)} after {tuple(images[0].shape)}"
                raise InputError(f"{what}: images must be (C, H, W) of one size, resize them; got {shapes}")
            boxes.append(box_rows(target, (images[-1].shape[1], images[-1].shape[2]), what))
    if not images:
        raise InputError("it has no images")
    return Split(_as_images(torch.stack(images)), padded_boxes([rows.tolist() for rows in boxes]))


def _of_batches(loader: DataLoader[Any]) -> Iterator[tuple[Any, Any]]:
    """Image and target of each item of a loader, whose batches are (images, targets)."""
    for number, batch in enumerate(_told(loader, "batch")):
        images, targets = two(batch, f"batch {number}")
        if isinstance(targets, Mapping) or len(images) != len(targets):
            raise InputError(f"batch {number}: must be images and as many targets: collate_fn=lambda b: tuple(zip(*b))")
        yield from zip(images, targets, strict=True)


@contextlib.contextmanager
def _seeded(loader: DataLoader[Any] | None) -> Iterator[None]:
    """Make draws inside the block the same each time, and restore all generators after it."""
    own = {getattr(loader, "generator", None), getattr(getattr(loader, "sampler", None), "generator", None)}
    generators = {generator: generator.get_state() for generator in own if isinstance(generator, torch.Generator)}
    with drawn_from(SEED):
        for generator in generators:
            generator.manual_seed(SEED)
        try:
            yield
        finally:
            for generator, state in generators.items():
                generator.set_state(state)


def _items(dataset: Any) -> Iterator[Any]:
    """One pass over a data set; what is not iterable counts from 0 to its length."""
    if hasattr(dataset, "__len__") and not isinstance(dataset, IterableDataset):
        for index in range(len(dataset)):
            with _telling(f"item {index}"):
                item = dataset[index]
            yield item
    elif isinstance(dataset, Iterable):
        yield from _told(dataset, "item")
    else:
        raise InputError("it must have __len__ or __iter__, but has neither")


def _told(given: Iterable[Any], what: str) -> Iterator[Any]:
    """One pass over ``given``; an error says at which ``what`` it was raised."""
    with _telling(f"{what} 0"):
        items = iter(given)
    for index in itertools.count():
        with _telling(f"{what} {index}"):
            item = next(items, _END)
        if item is _END:
            return
        yield item


_END = object()


@contextlib.contextmanager
def _telling(what: str) -> Iterator[None]:
    """Turn what a data set's own code raises into an error that names the item."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{what}: {error}") from error
    except Exception as error:
        first = first_line(error)
        raise InputError(f"{what} cannot be read: {type(error).__name__}: {first}") from error


def _chunks(dataset: Any) -> Iterator[tuple[Tensor, Tensor]]:
    images: list[Tensor] = []
    labels: list[Tensor] = []
    for index, item in enumerate(_items(dataset)):
        image, label = two(item, f"item {index}")
        images.append(_as_tensor(image, f"the image of item {index}"))
        labels.append(_as_tensor(label, f"the label of item {index}", is_label=True))
        if images[-1].dim() != 3:
            raise InputError(f"item {index}: an image must be (C, H, W); got {tuple(images[-1].shape)}")
        for what, parts in (("images", images), ("labels", labels)):
            if parts[-1].shape != parts[0].shape:
                raise InputError(
                    f"item {index}: {what} must be of one size, crop or resize them; got "
                    f"{tuple(parts[-1].shape)} after {tuple(parts[0].shape)}"
                )
        if len(images) == CHUNK_IMAGES:
            yield torch.stack(images), torch.stack(labels)
            images, labels = images[:0], labels[:0]
    if images:
        yield torch.stack(images), torch.stack(labels)


def _of_batch(batch: Any, number: int) -> tuple[Tensor, Tensor]:
    images, labels = two(batch, f"batch {number}")
    if not isinstance(images, Tensor) or not isinstance(labels, Tensor):
        kinds = f"{type(images).__name__} and {type(labels).__name__}"
        raise InputError(f"batch {number}: a loader must return tensors of images and of labels; got {kinds}")
    return images.detach().cpu(), labels.detach().cpu()


def _as_tensor(value: Any, what: str, is_label: bool = False) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, Image.Image):
        if value.mode == "P" and not is_label:
            raise InputError(f"{what} has palette pixels, whose numbers are not colours: let the data set convert it")
        pixels = torch.from_numpy(np.array(value))
        if pixels.dim() == 3:
            return pixels.permute(2, 0, 1)
        return pixels if is_label else pixels[None]
    if isinstance(value, int | np.integer):
        return torch.tensor(int(value))
    if is_label and isinstance(value, np.ndarray):
        return torch.from_numpy(value)
    raise InputError(f"{what} must be a tensor, a PIL image or an integer; got {type(value).__name__}")


def _joined(parts: Iterable[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    found = list(parts)
    if not found:
        raise InputError("it has no images")
    joined = []
    for what, tensors in zip(("images", "labels"), zip(*found, strict=True), strict=True):
        shapes = {(part.dtype, tuple(part.shape[1:])) for part in tensors}
        if len(shapes) > 1:
            listed = ", ".join(sorted(f"{dtype} {shape}" for dtype, shape in shapes))
            raise InputError(f"{what} must be of one type and size; got {listed}")
        joined.append(torch.cat(tensors))
    return joined[0], joined[1]


def _as_images(images: Tensor) -> Tensor:
    """The images, half precision converted to single, which loses nothing."""
    if images.dtype in NARROW:
        images = images.float()
    if (problem := images_problem(images, images)) is not None:
        raise InputError(problem)
    return images


def _as_labels(labels: Tensor, ignore_index: int, labels_are: str | None) -> Tensor:
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise InputError(f"labels must be integers, the number of a class; got {labels.dtype} {tuple(labels.shape)}")
    if labels.dim() == 4 and labels.shape[1] == 1 and labels_are == "pixel":
        labels = labels[:, 0]
    if labels.dim() == 1:
        return labels.long()
    if labels.dim() not in (3, 4):
        raise InputError(f"labels must be (B,), one per image, or (B, H, W), one per pixel; got {tuple(labels.shape)}")
    if labels.dim() == 3:
        labels = torch.where(labels == ignore_index, VOID, labels.long())
    _check_bytes(labels)
    return labels.to(torch.uint8)


def _check_bytes(labels: Tensor) -> None:
    is_wrong = (labels < 0) | (labels > VOID)
    if is_wrong.any():
        item = int(is_wrong.flatten(1).any(1).nonzero()[0, 0])
        raise InputError(
            f"item {item} has the label {int(labels[item][is_wrong[item]].flatten()[0])}; classes count from 0, and "
            "pixels without a class are marked by ignore_index"
        )
