"""Reads image and annotation files into uint8 tensors; an unusable file is refused with an error that names it.

Shapes: B images per batch, C channels, H x W pixels.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import torch
from PIL import Image

from raprune.errors import InputError, MissingDataError
from raprune.plugins.datasets.base import IMAGENET_MEAN, VOID, Split
from raprune.plugins.datasets.pixels import as_rgb, decode, for_each, orientation
from raprune.plugins.datasets.reading import room_for
from raprune.study.wording import shown
from raprune.system.paths import expanded

T = TypeVar("T")
Pair = tuple[Path, Path]
"""The files of an image and of its annotation, which has one class per pixel."""
Fit = Callable[[Image.Image, Image.Image, Pair], tuple[Image.Image, Image.Image]]
"""Crops or resizes an image and its annotation; the files are for messages."""
MEAN_COLOUR = tuple(round(255 * channel) for channel in IMAGENET_MEAN)


def expand(path: str) -> Path:
    """A path from the settings, with ``$VARIABLES`` and ``~`` expanded."""
    return expanded(path)


def refuse(problems: Iterable[tuple[str, str]]) -> None:
    """Raise :class:`InputError` for the first of a data set's ``problems()``, if any."""
    for key, message in problems:
        raise InputError(f"{key}: {message}")


@contextmanager
def fetching(what: str, root: Path, download: bool) -> Iterator[None]:
    """Wraps torchvision's loader: files that it cannot get or does not accept raise :class:`MissingDataError`."""
    try:
        yield
    except (OSError, HTTPException, RuntimeError) as error:  # no network, half a file, a file of another hash
        how = "cannot be downloaded" if download else "cannot be used"
        raise MissingDataError(f"{what} in {str(root)!r} {how}: {error}") from None


def decode_annotation(file: Path, num_classes: int, void: int) -> Image.Image:
    """The class of each pixel (its palette index or grey level) in mode L, with ``void`` replaced by ``VOID``."""
    image = decode(file, str(file))
    if image.mode not in ("P", "L"):
        raise InputError(f"{file}: an annotation must have palette or 8-bit grey pixels; got mode {image.mode}")
    _check_upright(image, file)
    labels_HW = np.asarray(image)
    outside = np.argwhere((labels_HW >= num_classes) & (labels_HW != void))
    if len(outside):
        row, column = outside[0]
        raise InputError(
            f"{file}: row {row}, column {column} has label {labels_HW[row, column]}; "
            f"labels are 0 to {num_classes - 1}, and {void} for void"
        )
    return Image.fromarray(np.where(labels_HW == void, np.uint8(VOID), labels_HW))


def decode_pairs(pairs: Sequence[Pair], size: tuple[int, int], num_classes: int, void: int, fit: Fit) -> Split:
    """Images and annotations of ``size`` (H, W); smaller ones are padded at the right and bottom, larger ones refused.

    Padding has the mean colour and the label ``VOID``.
    """
    h, w = size
    images_BCHW = room_for(len(pairs), 3, h, w)
    images_BCHW[:] = torch.tensor(MEAN_COLOUR, dtype=torch.uint8).view(3, 1, 1)
    labels_BHW = torch.full((len(pairs), h, w), VOID, dtype=torch.uint8)

    def fill(index: int) -> None:
        pair = pairs[index]
        image, annotation = fit(*decode_pair(pair, num_classes, void), pair)
        if image.height > h or image.width > w:
            raise InputError(f"{pair[0]} has {image.width}x{image.height} pixels, more than {w}x{h}")
        labels_BHW.numpy()[index, : image.height, : image.width] = annotation
        images_BCHW.numpy()[index, :, : image.height, : image.width] = np.asarray(image).transpose(2, 0, 1)

    for_each(len(pairs), fill)
    return Split(images_BCHW, labels_BHW)


def decode_pair(pair: Pair, num_classes: int, void: int) -> tuple[Image.Image, Image.Image]:
    """An image in RGB and its annotation, which must have the same size."""
    decoded = decode(pair[0], str(pair[0]))
    _check_upright(decoded, pair[0])
    image = as_rgb(decoded, str(pair[0]))
    annotation = decode_annotation(pair[1], num_classes, void)
    if annotation.size != image.size:
        ours, theirs = (f"{picture.width}x{picture.height}" for picture in (annotation, image))
        raise InputError(f"{pair[1]} has {ours} pixels, its image {pair[0].name} {theirs}")
    return image, annotation


def _check_upright(image: Image.Image, file: Path) -> None:
    """Refuse an image that EXIF turns: its pixels would no longer match those of its annotation."""
    if (turn := orientation(image)) != 1:
        raise InputError(f"{file} has the EXIF orientation {turn}: turn the pixels of the image and of its annotation")


def read_list(file: Path, root: Path, files_of: Callable[[str], Iterable[Path]]) -> list[str]:
    """The lines of a list file that are not blank; the files that ``files_of`` returns for a line must lie in ``root``.

    Only the written path is checked: a link in the folder may lead anywhere, since the folder's owner made it.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(f"{file}: the list of images cannot be read: {reason}") from None
    entries = [line.strip() for line in lines if line.strip()]
    for number, line in enumerate(lines, start=1):
        if line.strip() and not all(inside(root, path) for path in files_of(line.strip())):
            raise InputError(
                f"{file}:{number}: {shown(line.strip())} leads out of {root}; a list names files inside it"
            )
    if not entries:
        raise InputError(f"{file}: the list of images is empty")
    return entries


def inside(root: Path, path: Path) -> bool:
    return Path(os.path.normpath(path)).is_relative_to(os.path.normpath(root)) and "\0" not in str(path)


def check_listed_once(file: Path, names: Iterable[str]) -> None:
    """Refuse a list that names an image twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InputError(f"{file} names {name} twice")
        seen.add(name)


def check_annotated(pairs: Iterable[Pair]) -> None:
    """Refuse pairs whose image or annotation is missing."""
    for image, annotation in pairs:
        if not image.is_file():
            raise InputError(f"{image}: no such file")
        if not annotation.is_file():
            raise InputError(f"{image} has no annotation; no such file: {annotation}")


def check_apart(splits: Mapping[str, Iterable[tuple[bytes | str, str]]]) -> None:
    """Refuse an image that is in two splits; each image comes as its identity and its name for messages."""
    seen: dict[bytes | str, tuple[str, str]] = {}
    for split, images in splits.items():
        for identity, name in images:
            other, first = seen.setdefault(identity, (split, name))
            if other != split:
                raise InputError(f"splits overlap: {name} ({split}) is the same image as {first} ({other})")


class Dealing(Protocol):
    """Settings that say how many images go into a split that the data set does not have."""

    @property
    def num_val(self) -> int: ...
    @property
    def num_train(self) -> int | None: ...
    @property
    def num_test(self) -> int | None: ...
    @property
    def split_seed(self) -> int: ...


def deal(items: Sequence[T], count: int, seed: int) -> tuple[list[T], list[T]]:
    """A seeded split of items not yet decoded: the rest, and ``count`` of them, both in random order."""
    order = torch.randperm(len(items), generator=torch.Generator().manual_seed(seed)).tolist()
    return [items[i] for i in order[count:]], [items[i] for i in order[:count]]
