"""What the tasks of Pascal VOC share: classes, folders, and how the images of its lists are dealt to the splits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from raprune.errors import InputError
from raprune.plugins.datasets.image_files import (
    Dealing,
    Pair,
    check_annotated,
    check_apart,
    check_listed_once,
    deal,
    read_list,
)
from raprune.study.wording import counted

FOLDERS = {"2007": "VOCdevkit/VOC2007", "2011": "TrainVal/VOCdevkit/VOC2011", "2012": "VOCdevkit/VOC2012"}
"""Year -> folder under the root, as the archives unpack."""
CLASS_NAMES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


def lists_of(folder: Path, task: str) -> dict[str, Path]:
    """VOC's own lists of a task, such as ``Main``: those of train and val."""
    return {name: folder / "ImageSets" / task / f"{name}.txt" for name in ("train", "val")}


def deal_parts(folder: Path, task: str, settings: Dealing, files_of: Callable[[str], Pair]) -> dict[str, list[str]]:
    """The images of each split: val is a seeded part of VOC's train list, test its val list.

    ``files_of``: the files of an image. Raises :class:`InputError` where one is missing, an image is listed twice, or
    there are too few.
    """
    lists = lists_of(folder, task)
    named = {name: read_list(file, folder, files_of) for name, file in lists.items()}
    for name, images in named.items():
        check_listed_once(lists[name], images)
    check_apart({name: [(image, f"{image} of {lists[name]}") for image in images] for name, images in named.items()})
    if len(named["train"]) <= settings.num_val:
        number = len(named["train"])
        raise InputError(f"{lists['train']} names {counted(number, 'image')}; num_val takes {settings.num_val} of them")
    train, val = deal(named["train"], settings.num_val, settings.split_seed)
    test = named["val"]
    if settings.num_test is not None:
        _, test = deal(test, settings.num_test, settings.split_seed)
    parts = {"train": train[: settings.num_train], "val": val, "test": test}
    for images in parts.values():
        check_annotated(map(files_of, images))
    return parts
