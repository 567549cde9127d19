"""What a data set provides: images, labels, splits, and how they become a network's input.

Shapes: B images per batch, C channels, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from raprune.errors import InputError
from raprune.plugins.datasets.boxes import BOX_COLUMNS as BOX_COLUMNS
from raprune.plugins.datasets.boxes import NO_BOX as NO_BOX
from raprune.plugins.datasets.boxes import boxes_problem, moved_boxes
from raprune.plugins.datasets.fits import RandomCrop
from raprune.plugins.datasets.stream import Stream
from raprune.plugins.datasets.transfer import per_channel, to_device
from raprune.study.wording import counted

VOID = 255
"""The label of a pixel that has no class: it counts in no loss and in no score."""
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Augment = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]
"""Takes images (B, C, H, W), their labels and a generator; returns augmented images and labels of the same shapes and
types. Labels per pixel and boxes move with their pixels."""


@dataclass(frozen=True)
class Split:
    """Images and their labels, in a fixed order."""

    images_BCHW: Tensor
    """uint8, 0 to 255; or float32 or float64, already normalised. None (0, C, H, W) where ``stream`` decodes them:
    read them by :meth:`at`, :meth:`take` and :meth:`batches`."""
    labels_B: Tensor
    """(B,) int64, one class per image; or (B, H, W) uint8, one class per pixel, ``VOID`` where there is none; or
    (B, C, H, W) uint8, the image that an image-to-image network should return; or (B, N, 6) float32, at most N boxes
    per image, with the columns ``BOX_COLUMNS``."""
    stream: Stream | None = None
    """Where the images are decoded whenever they are read: more than fit into memory, or random parts of them."""

    @classmethod
    def streamed(cls, stream: Stream, labels_B: Tensor) -> Split:
        """Images that are decoded whenever they are read."""
        return cls(torch.empty((0, *stream.shape_CHW), dtype=torch.uint8), labels_B, stream)

    def __len__(self) -> int:
        return len(self.labels_B)

    def cropped(self, crop: RandomCrop | None) -> Split:
        """The split of a stream, random parts of which are trained on if there is a ``crop``."""
        return self if self.stream is None else replace(self, stream=replace(self.stream, crop=crop))

    @property
    def kind(self) -> str:
        """What the labels are: ``image``, ``pixel``, ``target`` or ``boxes``."""
        if self.labels_B.is_floating_point():
            return "boxes"
        return {1: "image", 3: "pixel", 4: "target"}[self.labels_B.dim()]

    def at(self, index: Tensor | slice) -> Tensor:
        """(B, C, H, W): the images at ``index``, without augmentation, on their own device."""
        if self.stream is None:
            images = self.images_BCHW
            return images[index] if isinstance(index, slice) else images[to_device(index, images.device)]
        return self.stream.read(torch.arange(len(self))[index] if isinstance(index, slice) else index)

    def take(self, index: Tensor) -> Split:
        """The images and labels at ``index``; those of a stream stay encoded."""
        if self.stream is not None:
            return Split.streamed(self.stream.take(index), self.labels_B[index])
        return Split(self.images_BCHW[index], self.labels_B[index])

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Images and labels of at most ``size`` items at a time, in order."""
        for start in range(0, len(self), size):
            some = slice(start, start + size)
            yield self.at(some), self.labels_B[some]


@dataclass(frozen=True)
class Drawn:
    """How strokes of a pen become an image like those of a data set, for a page that a person draws into.

    The strokes are scaled to the height of a square bitmap, made narrower if need be, and centred in it. Its ink is
    counted in square cells; these are the image, enlarged to its size by bilinear interpolation, ink white on black.
    """

    bitmap: int
    """Side of the bitmap, in its pixels."""
    width: float
    """The widest that a drawing may be in it, in its pixels."""
    cells: int
    """Cells along a side."""
    pen: float
    """Width of a stroke, in pixels of the bitmap."""


@dataclass(frozen=True)
class Splits:
    """A data set: rewards come from ``val``; ``test`` is scored only for the baseline and for each finished network.

    ``guard`` is set aside from ``val`` by the study, not by the data set: only what is to be committed is scored on it.

    Its tensors may lie in memory that several processes share: nothing may write to them, including ``augment`` and
    scores.
    """

    train: Split
    val: Split
    test: Split | None
    """``None`` where there is no labelled test split; test scores are then null."""
    num_classes: int
    mean: tuple[float, ...] = ()
    """Mean of each channel of uint8 images scaled to [0, 1]; empty for float images, which are not normalised again."""
    std: tuple[float, ...] = ()
    """Standard deviation of each channel, like ``mean``."""
    augment: Augment | None = None
    """Applied to training batches only."""
    class_names: tuple[str, ...] = ()
    """In the order of the labels; empty where the data set has none."""
    guard: Split | None = None
    """``None`` until :func:`set_aside` takes it out of ``val``, and where the study has no guard."""
    drawn: Drawn | None = None
    """How drawings become images of one channel; ``None`` where nobody can draw such images."""

    @property
    def normalised(self) -> bool:
        """Whether the images are floats, which a network takes as they are."""
        return self.train.images_BCHW.is_floating_point()

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        c, h, w = self.train.images_BCHW.shape[1:]
        return int(c), int(h), int(w)

    def split(self, name: str) -> Split:
        """``train``, ``val``, ``guard`` or ``test`` by name; raises LookupError where there is no such split."""
        split: Split | None = getattr(self, name)
        if split is None:
            raise LookupError(f"this data set has no {name} split")
        return split


def check_splits(splits: Splits) -> None:
    """Check that a data set meets the contract of :class:`Splits`; raises :class:`InputError` that names the split."""
    if not isinstance(splits, Splits):
        got = type(splits).__name__
        raise InputError(f"it must return a Splits object; raprune.api.splits_of makes one from data sets; got {got}")
    like = splits.train.images_BCHW
    for name in ("train", "val", "test"):
        split: Split | None = getattr(splits, name)
        if split is None:
            continue
        images, labels = split.images_BCHW, split.labels_B
        if split.stream is not None:
            images = torch.empty((len(split.stream), *images.shape[1:]), dtype=images.dtype, device="meta")
        problem = images_problem(images, like) or labels_problem(images, labels, splits.num_classes)
        if problem:
            raise InputError(f"its {name} split: {problem}")
    channels = 0 if splits.normalised else like.shape[1]
    if not len(splits.mean) == len(splits.std) == channels:
        expected = "float images, which are already normalised" if splits.normalised else f"{channels} channels"
        raise InputError(f"its mean and std have {len(splits.mean)} and {len(splits.std)} values for {expected}")


IMAGE_TYPES = (torch.uint8, torch.float32, torch.float64)
CHECKED_IMAGES = 512
"""Float images checked at a time."""


def images_problem(images: object, like: Tensor) -> str | None:
    """Why ``images`` cannot be a split's images in a data set whose training images are ``like``."""
    if not isinstance(images, Tensor) or images.dtype not in IMAGE_TYPES or images.dim() != 4:
        what = f"{images.dtype} {tuple(images.shape)}" if isinstance(images, Tensor) else type(images).__name__
        return f"images must be (B, C, H, W), uint8 (0 to 255) or float32 or float64 (normalised); got {what}"
    if len(images) == 0:
        return "it has no images"
    if images.dtype != like.dtype:
        return f"images are {images.dtype}, the training images {like.dtype}"
    starts = range(0, len(images) if images.is_floating_point() else 0, CHECKED_IMAGES)
    for start in starts:
        is_finite_B = images[start : start + CHECKED_IMAGES].isfinite().flatten(1).all(1)
        if not is_finite_B.all():
            return f"item {start + _first(~is_finite_B)}: its image has values that are NaN or infinite"
    shape = like.shape[1:]
    if images.shape[1:] == shape:
        return None
    return f"images are {tuple(images.shape[1:])}, the training images {tuple(shape)}"


LABEL_TYPES = {(1, torch.int64), (3, torch.uint8), (4, torch.uint8), (3, torch.float32)}
"""Number of dimensions and type of labels."""


def labels_problem(images: Tensor, labels: object, num_classes: int) -> str | None:
    """Why ``labels`` cannot be those of ``images``; ``None`` where they can."""
    if not isinstance(labels, Tensor) or (labels.dim(), labels.dtype) not in LABEL_TYPES:
        what = f"{labels.dtype} {tuple(labels.shape)}" if isinstance(labels, Tensor) else type(labels).__name__
        return f"labels must be int64 (B,), uint8 (B, H, W), uint8 (B, C, H, W) or float32 (B, N, 6); got {what}"
    if len(labels) != len(images):
        return f"{counted(len(labels), 'label')} for {counted(len(images), 'image')}"
    if labels.is_floating_point():
        return boxes_problem(labels, num_classes)
    if labels.dim() > 1 and labels.shape[-2:] != images.shape[-2:]:
        return f"labels are {tuple(labels.shape[-2:])} for images of {tuple(images.shape[-2:])}"
    if labels.dim() < 4:
        is_wrong = (labels < 0) | (labels >= num_classes)
        if labels.dim() == 3:
            is_wrong &= labels != VOID
        if is_wrong.any():
            item = _first(is_wrong.flatten(1).any(1) if labels.dim() == 3 else is_wrong)
            value = int(labels[item][is_wrong[item]].flatten()[0])
            return f"item {item} has the label {value}; there are {num_classes} classes, from 0 to {num_classes - 1}"
    return None


def _first(is_true_B: Tensor) -> int:
    """Index of the first true value."""
    return int(is_true_B.nonzero()[0, 0])


def normalise(images_BCHW: Tensor, splits: Splits, dtype: torch.dtype = torch.float32) -> Tensor:
    """Network input for ``images_BCHW``: uint8 is scaled to [0, 1] and normalised per channel, floats stay as they are.

    The result is always a new tensor, so a network may write into it.
    """
    if images_BCHW.is_floating_point():
        return images_BCHW.to(dtype, copy=True)
    mean, std = (per_channel(tuple(values), dtype, images_BCHW.device) for values in (splits.mean, splits.std))
    return (images_BCHW.to(dtype) / 255 - mean) / std


def split_train_val(images: Split, num_val: int, seed: int) -> tuple[Split, Split]:
    """A seeded split of the training images into train and val."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(images), generator=generator)
    return images.take(order[num_val:]), images.take(order[:num_val])


def num_guard_images(num_val: int, share: float) -> int:
    """How many of ``num_val`` images :func:`set_aside` takes for the guard."""
    return round(num_val * share)


def set_aside(splits: Splits, share: float, seed: int) -> Splits:
    """``splits`` with that share of val drawn as the guard, and val left with the others, both in their old order.

    Raises :class:`InputError` unless both keep at least two images.
    """
    num_val = len(splits.val)
    number = num_guard_images(num_val, share)
    if not 2 <= number <= num_val - 2:
        raise InputError(
            f"a guard of {share:g} takes {number} of {counted(num_val, 'validation image')}, and both it and val need "
            "at least two: use more validation images, or set guard: 0"
        )
    order = torch.randperm(num_val, generator=torch.Generator().manual_seed(seed))
    guard, val = order[:number].sort().values, order[number:].sort().values
    return replace(splits, val=splits.val.take(val), guard=splits.val.take(guard))


def shift_and_flip(pixels: int, flip: bool) -> Augment:
    """Each image shifted by up to ``pixels`` in both directions (edges repeated) and, half the time, mirrored."""

    def augment(images_BCHW: Tensor, labels_B: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        b, _, h, w = images_BCHW.shape
        device = images_BCHW.device
        shift_2B = to_device(torch.randint(0, 2 * pixels + 1, (2, b), generator=generator), device) - pixels
        rows_BH = (shift_2B[0][:, None] + torch.arange(h, device=device)).clamp(0, h - 1)
        columns_BW = (shift_2B[1][:, None] + torch.arange(w, device=device)).clamp(0, w - 1)
        if flip:
            mirrored_B = to_device(torch.rand(b, generator=generator), device) < 0.5
            columns_BW = torch.where(mirrored_B[:, None], columns_BW.flip(1), columns_BW)
        else:
            mirrored_B = torch.zeros(b, dtype=torch.bool, device=device)
        index = (torch.arange(b, device=device)[:, None, None], rows_BH[:, :, None], columns_BW[:, None, :])
        moved_BCHW = images_BCHW.permute(0, 2, 3, 1)[index].permute(0, 3, 1, 2)
        if labels_B.is_floating_point() and labels_B.dim() == 3:
            labels_B = moved_boxes(labels_B, shift_2B, mirrored_B, (h, w))
        elif labels_B.dim() == 3:
            labels_B = labels_B[index]
        elif labels_B.dim() == 4:
            labels_B = labels_B.permute(0, 2, 3, 1)[index].permute(0, 3, 1, 2)
        return moved_BCHW, labels_B

    return augment
