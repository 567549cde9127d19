"""Data that a program holds: the same images in whatever form, in a fixed order, with no random state changed."""

from __future__ import annotations

import random
from collections import UserDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, SubsetRandomSampler, TensorDataset

from raprune.api.reading import class_names_of, read_split
from raprune.errors import InputError
from raprune.plugins.datasets.base import VOID, Split

IMAGES = torch.randn(11, 3, 4, 5, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(11) % 3


def read(given: Any, labels_are: str | None = None, ignore_index: int = VOID) -> Split:
    return read_split(given, "val", ignore_index, labels_are)


class Listed(Dataset[Any]):
    """Items as a user's data set gives them."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


class Streamed(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return zip(IMAGES, LABELS.tolist(), strict=True)

    def __len__(self) -> int:
        return len(LABELS)


class Augmented(Dataset[Any]):
    """Draws from all three generators that a transform may use."""

    def __len__(self) -> int:
        return len(LABELS)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        noise = torch.rand(()) + random.random() + float(np.random.rand())
        return IMAGES[index] + noise, int(LABELS[index])


class Broken(Dataset[Any]):
    """Its fourth file is cut off."""

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if index == 3:
            raise OSError("image file is truncated")
        return IMAGES[index], 0


class BrokenStream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        for row in ({"label": 0}, {"label": 1}, {}):
            yield IMAGES[0], row["label"]


@pytest.mark.parametrize(
    "given",
    [
        (IMAGES, LABELS),
        [IMAGES, LABELS.to(torch.uint8)],
        TensorDataset(IMAGES, LABELS),
        Subset(TensorDataset(IMAGES, LABELS), range(11)),
        DataLoader(TensorDataset(IMAGES, LABELS), batch_size=4),
        Listed(list(zip(IMAGES, LABELS.tolist(), strict=True))),
        Listed(list(zip(IMAGES, LABELS.numpy(), strict=True))),
        Streamed(),
    ],
    ids=["tuple", "list", "tensors", "subset", "loader", "integers", "numpy", "stream"],
)
def test_every_form_gives_the_same(given: Any) -> None:
    found = read(given)
    assert torch.equal(found.images_BCHW, IMAGES)
    assert torch.equal(found.labels_B, LABELS)
    assert found.labels_B.dtype == torch.int64


def test_a_loader_gives_its_own_pass_and_the_same_each_time() -> None:
    sampler = SubsetRandomSampler([7, 2, 5])
    generator = torch.Generator().manual_seed(5)
    data = TensorDataset(IMAGES, LABELS)
    chosen = read(DataLoader(data, batch_size=2, sampler=sampler))
    assert sorted(chosen.images_BCHW[:, 0, 0, 0].tolist()) == sorted(IMAGES[[7, 2, 5], 0, 0, 0].tolist())
    for loader in (DataLoader(data, 4, shuffle=True), DataLoader(data, 4, shuffle=True, generator=generator)):
        first, state = read(loader), torch.get_rng_state()
        torch.rand(3)
        torch.set_rng_state(state)
        assert torch.equal(read(loader).images_BCHW, first.images_BCHW)
        assert not torch.equal(first.images_BCHW, IMAGES)
    assert torch.equal(generator.get_state(), torch.Generator().manual_seed(5).get_state())


def test_what_is_drawn_at_random_is_drawn_once_and_leaves_no_trace() -> None:
    random.seed(3)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    first = read(Augmented())
    after = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]
    random.seed(4)
    torch.manual_seed(9)
    assert torch.equal(read(Augmented()).images_BCHW, first.images_BCHW)
    assert not torch.allclose(first.images_BCHW, IMAGES)


def test_images_of_pil_and_masks() -> None:
    pixels = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    mask = np.array([[0, 1, 2, 255, 1]] * 4, dtype=np.uint8)
    found = read(Listed([(Image.fromarray(pixels), Image.fromarray(mask))] * 2))
    assert found.images_BCHW.dtype == torch.uint8
    assert torch.equal(found.images_BCHW[1], torch.from_numpy(pixels).permute(2, 0, 1))
    assert torch.equal(found.labels_B[0], torch.from_numpy(mask))
    grey = read(Listed([(Image.fromarray(mask), 1)]))
    assert grey.images_BCHW.shape == (1, 1, 4, 5)


def test_pixels_without_a_label_are_void() -> None:
    labels = torch.tensor([-100, 0, 1, 2]).expand(11, 1, 5, 4).transpose(2, 3)
    found = read((IMAGES, labels), "pixel", ignore_index=-100)
    assert found.labels_B.shape == (11, 4, 5)
    assert found.labels_B.dtype == torch.uint8
    assert found.labels_B[0, :, 0].tolist() == [VOID, 0, 1, 2]


def test_half_precision_becomes_single() -> None:
    found = read((IMAGES.bfloat16(), LABELS))
    assert found.images_BCHW.dtype == torch.float32
    assert torch.equal(found.images_BCHW, IMAGES.bfloat16().float())


def test_class_names() -> None:
    data = Listed([])
    data.classes = ["cat", "dog"]  # type: ignore[attr-defined]
    assert class_names_of(Subset(data, []), 2) == ()
    assert class_names_of(data, 2) == ("cat", "dog")
    assert class_names_of(DataLoader(data), 2) == ("cat", "dog")
    assert class_names_of(data, 3) == ()


class Sample(NamedTuple):
    label: int
    image: Tensor


@dataclass
class Example:
    pixel_values: Tensor
    path: str
    labels: int


class HuggingFaceLike:
    """No data set of torch: its items are dictionaries, its classes have names among its features."""

    def __init__(self, images: str, labels: str) -> None:
        self.keys = images, labels
        self.features = {images: None, labels: SimpleNamespace(names=["a", "b", "c"])}

    def __len__(self) -> int:
        return len(LABELS)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return dict(zip(self.keys, (IMAGES[index], int(LABELS[index])), strict=True)) | {"id": str(index)}


PAIRS = [*zip(IMAGES, LABELS.tolist(), strict=True)]
NAMED: list[Callable[[], Any]] = [
    lambda: Listed([{"image": image, "label": label} for image, label in PAIRS]),
    lambda: Listed([{"labels": label, "pixel_values": image, "id": 7} for image, label in PAIRS]),
    lambda: Listed([UserDict(Img=image, Target=label) for image, label in PAIRS]),
    lambda: Listed([Sample(label, image) for image, label in PAIRS]),
    lambda: Listed([Example(image, "x.png", label) for image, label in PAIRS]),
    lambda: DataLoader(Listed([{"x": image, "y": label} for image, label in PAIRS]), batch_size=4),
    lambda: DataLoader(Listed([Sample(label, image) for image, label in PAIRS]), batch_size=4),
    lambda: HuggingFaceLike("img", "label"),
    lambda: PAIRS,
    lambda: [[image, torch.tensor(label)] for image, label in PAIRS],
]


@pytest.mark.parametrize("make", NAMED, ids=range(len(NAMED)))
def test_items_whose_parts_have_names(make: Callable[[], Any]) -> None:
    found = read(make())
    assert torch.equal(found.images_BCHW, IMAGES)
    assert torch.equal(found.labels_B, LABELS)


def test_masks_may_be_arrays_and_classes_have_names() -> None:
    masks = (torch.arange(20).view(4, 5) % 3).numpy().astype(np.uint8)
    found = read(Listed([{"image": image, "mask": masks} for image in IMAGES]), "pixel")
    assert found.labels_B.shape == (11, 4, 5)
    assert class_names_of(HuggingFaceLike("image", "labels"), 3) == ("a", "b", "c")  # type: ignore[arg-type]


REFUSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: 3, "val: must be a data set of (image, label) or of {'image': ..., 'label': ...}, a DataLoader of them"),
    (lambda: (IMAGES, LABELS, LABELS), "val: must be a data set of (image, label)"),
    (lambda: Listed([]), "val: it has no images"),
    (lambda: (IMAGES[:0], LABELS[:0]), "val: it has no images"),
    (
        lambda: DataLoader(Listed([{"image": IMAGES[0]}])),
        "val: batch 0: must have one label (label, labels, target, targets, ...) among its parts; got image; or let",
    ),
    (
        lambda: Listed([{"img": IMAGES[0], "fine_label": 1, "coarse_label": 0}]),
        "val: item 0: must have one label (label, labels, target, targets, ...) among its parts; got img, fine_label,",
    ),
    (
        lambda: Listed([{"image": IMAGES[0], "x": IMAGES[0], "y": 1}]),
        "val: item 0: must have one image (image, images,",
    ),
    (lambda: {"train": 1, "test": 2}, "got a mapping of train, test: pass one of them"),
    (lambda: Listed([3]), "val: item 0: must be a pair of image and label, or name them; got int"),
    (
        lambda: Listed([(Image.new("P", (4, 4)), 1)]),
        "val: the image of item 0 has palette pixels, whose numbers are not colours",
    ),
    (Broken, "val: item 3 cannot be read: OSError: image file is truncated"),
    (lambda: DataLoader(Broken(), batch_size=2), "val: batch 1 cannot be read: OSError: image file is truncated"),
    (BrokenStream, "val: item 2 cannot be read: KeyError: 'label'"),
    (lambda: Listed([(IMAGES[0], 1, 2)]), "val: item 0: must be a pair of image and label, or name them; got 3 values"),
    (lambda: Listed([(IMAGES[0, 0], 1)]), "val: item 0: an image must be (C, H, W); got (4, 5)"),
    (
        lambda: Listed([(IMAGES[0], 1), (IMAGES[1, :, :3], 1)]),
        "val: item 1: images must be of one size, crop or resize them; got (3, 3, 5) after (3, 4, 5)",
    ),
    (lambda: Listed([("cat.png", 1)]), "val: the image of item 0 must be a tensor, a PIL image or an integer"),
    (lambda: Listed([(IMAGES[0], "cat")]), "val: the label of item 0 must be a tensor, a PIL image or an integer"),
    (lambda: (IMAGES[0], LABELS), "val: images must be (B, C, H, W)"),
    (lambda: (IMAGES.long(), LABELS), "uint8 (0 to 255) or float32 or float64 (normalised); got torch.int64"),
    (lambda: (IMAGES / 0 * 0, LABELS), "val: item 0: its image has values that are NaN or infinite"),
    (lambda: (IMAGES, LABELS.float()), "val: labels must be integers, the number of a class; got torch.float32 (11,)"),
    (lambda: (IMAGES, LABELS[:, None]), "val: labels must be (B,), one per image, or (B, H, W), one per pixel"),
    (
        lambda: (IMAGES, LABELS[:, None, None].expand(11, 4, 5) - 1),
        "val: item 0 has the label -1; classes count from 0",
    ),
]


@pytest.mark.parametrize(("make", "said"), REFUSED, ids=range(len(REFUSED)))
def test_what_cannot_be_read_is_a_sentence(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(InputError) as caught:
        read(make())
    assert said in str(caught.value)
