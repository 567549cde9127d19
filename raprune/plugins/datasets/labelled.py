"""Images with one class each, from a library that returns them one by one: splits, one size, grey or colour.

Splits that the library has are used as they are. Others are dealt from the training images; a training image with the
pixels of one that was dealt is left out, so that nothing is scored on what was trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image
from pydantic import Field, model_validator

from raprune.errors import InputError, first_line
from raprune.plugins.datasets.base import Split, Splits, shift_and_flip
from raprune.plugins.datasets.fits import CentreCrop, Whole
from raprune.plugins.datasets.image_files import Dealing, deal
from raprune.plugins.datasets.normalisation import STATISTICS, NormalisedSettings, Statistics
from raprune.plugins.datasets.pixels import as_rgb, centre_crop, content, for_each
from raprune.plugins.datasets.reading import reading, room_for
from raprune.plugins.datasets.sources import Source
from raprune.plugins.datasets.stream import Stream
from raprune.study.wording import counted

Item = tuple[Image.Image, int]
CONTENTS_AT_ONCE = 256
"""Images that are decoded at a time where their pixels are compared."""


class LabelledSettings(NormalisedSettings):
    channels: Literal[1, 3] = 3
    """Channels of the images: 3 (grey images get three equal ones) or 1 (colours become grey)."""
    mean: list[float] | None = None
    """Mean of each channel for pixels scaled to [0, 1]; with ``std``, they replace ``normalisation``."""
    std: list[float] | None = None
    """Standard deviation of each channel for pixels scaled to [0, 1]; requires ``mean``."""
    size: int | None = Field(default=None, ge=8)
    """Height and width, in pixels, of a centre crop, whose shorter side is first resized to 8/7 of them; without it the
    images must all have one size, which they keep."""
    num_val: int = Field(default=5000, ge=1)
    """Validation images, a seeded part of the training images; ignored if the data set has a validation split."""
    num_train: int | None = Field(default=None, ge=1)
    """Use only this many of the remaining training images."""
    num_test: int | None = Field(default=None, ge=1)
    """Test images, a seeded part of the test split, or of the training images if there is none."""
    split_seed: int = Field(default=0, ge=0)
    """Seed for the splits."""
    shift: int = Field(default=4, ge=0)
    """Shift training images by up to this many pixels."""
    flip: bool = False
    """Mirror half of the training images; not for digits and letters."""

    @model_validator(mode="after")
    def _one_a_channel(self) -> LabelledSettings:
        for key, values in (("mean", self.mean), ("std", self.std)):
            if values is not None and len(values) != self.channels:
                raise ValueError(f"{key} has {counted(len(values), 'value')} for channels: {self.channels}")
        return self

    @property
    def statistics(self) -> Statistics:
        """Mean and standard deviation of each channel; for grey images, the means of the three."""
        if self.mean is not None and self.std is not None:
            return tuple(self.mean), tuple(self.std)
        mean, std = STATISTICS[self.normalisation]
        return (mean, std) if self.channels == 3 else ((sum(mean) / 3,), (sum(std) / 3,))


@dataclass(frozen=True)
class Part:
    """One split of a library's data set."""

    name: str
    """For messages: ``the train split of CIFAR100``."""
    number: int
    item: Callable[[int], Item]
    """The image and the class at an index; called from several threads."""
    encoded: tuple[Source, np.ndarray] | None = None
    """Its images still encoded, and their classes, where all of them are known without a look at each item."""


def splits_from(parts: Mapping[str, Part], settings: LabelledSettings, class_names: Sequence[str]) -> Splits:
    """Images of ``parts`` (``train``, and ``val`` and ``test`` where there are any), decoded and dealt.

    ``class_names`` may be empty. Raises :class:`InputError` naming the split and the item that cannot be used.
    """
    rows = dealt({name: (part.name, part.number) for name, part in parts.items()}, settings)
    of = {name: parts.get(name, parts["train"]) for name in rows}
    shape = _shape(of["train"], rows["train"][0], settings)
    most, num_bytes = reading().memory_bytes, settings.channels * shape[0] * shape[1] * sum(map(len, rows.values()))
    read_as = _read if most is None or num_bytes <= most else _streamed
    read = {name: read_as(of[name], rows[name], shape, settings) for name in rows}
    held = set().union(*(_contents(read[name]) for name in set(rows) - set(parts)))
    if held:
        own = [i for i, image in enumerate(_contents(read["train"])) if image not in held]
        if len(own) < len(read["train"]):
            read["train"] = read["train"].take(torch.tensor(own))
    highest = max(int(split.labels_B.max()) for split in read.values())
    num_classes = max(len(class_names), highest + 1)
    mean, std = settings.statistics
    augment = shift_and_flip(settings.shift, settings.flip) if settings.shift or settings.flip else None
    names = tuple(class_names) if len(set(class_names)) == num_classes else ()
    return Splits(read["train"], read["val"], read.get("test"), num_classes, mean, std, augment, names)


def dealt(given: Mapping[str, tuple[str, int]], settings: Dealing) -> dict[str, list[int]]:
    """Split -> rows of the part it comes from: its own, or ``train``.

    ``given`` are the library's splits (``train``, perhaps ``val`` and ``test``), each with its name for messages and
    its number of images. Raises :class:`InputError` where there are too few.
    """
    train, rows = list(range(given["train"][1])), {}
    wanted = {"test": settings.num_test or 0, "val": settings.num_val}
    wanted = {name: number for name, number in wanted.items() if name not in given and number}
    if sum(wanted.values()) >= len(train):
        asked = " and ".join(f"num_{name} {number}" for name, number in wanted.items())
        raise InputError(f"{given['train'][0]} has {counted(len(train), 'image')}; {asked or 'train'} takes them all")
    for step, (name, number) in enumerate(wanted.items()):
        train, rows[name] = deal(train, number, settings.split_seed + step)
    for name in given.keys() - {"train"}:
        rows[name] = list(range(given[name][1]))
        if name == "test" and settings.num_test is not None:
            _, rows[name] = deal(rows[name], settings.num_test, settings.split_seed)
        if not rows[name]:
            raise InputError(f"{given[name][0]} has no images")
    return {"train": train[: settings.num_train], **rows}


def _shape(part: Part, row: int, settings: LabelledSettings) -> tuple[int, int]:
    """Height and width of all images."""
    if settings.size is not None:
        return settings.size, settings.size
    image, _ = _item(part, row)
    if min(image.size) < 8:
        raise InputError(f"item {row} of {part.name} has {image.width}x{image.height} pixels: set size, to at least 8")
    return image.height, image.width


def _read(part: Part, rows: Sequence[int], shape: tuple[int, int], settings: LabelledSettings) -> Split:
    images_BCHW = room_for(len(rows), settings.channels, *shape)
    labels_B = torch.empty(len(rows), dtype=torch.int64)
    pixels, labels = images_BCHW.numpy(), labels_B.numpy()

    def fill(index: int) -> None:
        image, labels[index] = _item(part, rows[index])
        if settings.size is not None:
            image = centre_crop(image, round(settings.size * 8 / 7), settings.size)
        if (image.height, image.width) != shape:
            sizes = f"{image.width}x{image.height} pixels, others {shape[1]}x{shape[0]}"
            raise InputError(f"item {rows[index]} of {part.name} has {sizes}: set size, such as size: 224")
        values = np.asarray(image if settings.channels == 3 else image.convert("L"))
        pixels[index] = values.transpose(2, 0, 1) if settings.channels == 3 else values

    for_each(len(rows), fill)
    return Split(images_BCHW, labels_B)


def _streamed(part: Part, rows: Sequence[int], shape: tuple[int, int], settings: LabelledSettings) -> Split:
    """As :func:`_read`, with images that are decoded whenever they are read."""
    if part.encoded is None:
        return _read(part, rows, shape, settings)
    (source, classes), places = part.encoded, np.array(rows, np.int64)
    if (classes[places] < 0).any():
        _item(part, int(places[classes[places] < 0][0]))  # which raises what is wrong with it
    size = settings.size
    whole = Whole(shape[1], shape[0], ": set size, such as size: 224")
    fit = whole if size is None else CentreCrop(size, size, round(size * 8 / 7))
    return Split.streamed(Stream(source, places, fit, channels=settings.channels), torch.from_numpy(classes[places]))


def _contents(split: Split) -> Iterator[bytes]:
    """Digests of the pixels of each image, a few of which are decoded at a time."""
    for images, _ in split.batches(CONTENTS_AT_ONCE):
        yield from (content(image.numpy().tobytes()) for image in images)


def _item(part: Part, row: int) -> Item:
    """An image in RGB and its class."""
    what = f"item {row} of {part.name}"
    try:
        image, label = part.item(row)
    except InputError:
        raise
    except Exception as error:  # whatever a library raises for a file that it cannot read
        raise InputError(f"{what} cannot be read: {first_line(error)}") from None
    if not isinstance(image, Image.Image):
        raise InputError(f"{what} has no image but {type(image).__name__}")
    if isinstance(label, bool) or not isinstance(label, int | np.integer):
        raise InputError(f"{what} has no class but {type(label).__name__}; its label must be a whole number")
    if label < 0:
        raise InputError(f"{what} has the class {label}, which marks images without one: leave this split out")
    return as_rgb(image, what), int(label)
