"""Pascal VOC detection in torchvision's layout: 20 classes; VOC's train list is split, its val list is test.

Source: Everingham et al., The Pascal Visual Object Classes Challenge 2007 to 2012. An object marked as difficult counts
as a crowd: what is found there is neither right nor wrong.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

from pydantic import Field

from raprune.errors import InputError
from raprune.plugins.datasets.base import Splits, shift_and_flip
from raprune.plugins.datasets.boxed_files import Annotated, load_annotated, pixel_box
from raprune.plugins.datasets.boxes import Box
from raprune.plugins.datasets.image_files import expand, refuse
from raprune.plugins.datasets.normalisation import NormalisedSettings
from raprune.plugins.datasets.voc_files import CLASS_NAMES, FOLDERS, deal_parts
from raprune.registry import DATASETS
from raprune.study.wording import shown

EDGES = ("xmin", "ymin", "xmax", "ymax")
"""In pixels that count from 1; the last pixel is inside."""

REFUSED = (b"<!ENTITY", b"<!DOCTYPE", b"\0")
"""Bytes that no annotation holds; the last one is found in text of two bytes a letter, which could hide the others."""


class VocDetectionSettings(NormalisedSettings):
    root: str = "data"
    """Folder that holds VOCdevkit (2011: TrainVal/VOCdevkit); ``$VARIABLES`` are expanded."""
    year: Literal["2007", "2011", "2012"] = "2012"
    """Year of the challenge."""
    size: int = Field(default=300, ge=32)
    """Height and width, in pixels, to which images are resized, whatever their shape."""
    num_val: int = Field(default=500, ge=1)
    """Validation images, a seeded part of VOC's train list."""
    num_train: int | None = Field(default=None, ge=1)
    """Use only this many of the remaining training images."""
    num_test: int | None = Field(default=None, ge=1)
    """Use only this many of VOC's val list, which is the test split."""
    split_seed: int = Field(default=0, ge=0)
    """Seed for choosing the images of each split."""
    shift: int = Field(default=16, ge=0)
    """Shift training images by up to this many pixels."""
    flip: bool = True
    """Mirror half of the training images."""

    @property
    def folder(self) -> Path:
        return expand(self.root) / FOLDERS[self.year]

    def problems(self) -> list[tuple[str, str]]:
        if not self.folder.is_dir():
            return [("root", f"has no {FOLDERS[self.year]}; got {str(expand(self.root))!r}")]
        return []

    def remedies(self) -> list[str]:
        inside = FOLDERS[self.year].split("/")[0]
        return [] if self.folder.is_dir() else [f"--set dataset.root=/path/to/folder-with-{inside}"]


@DATASETS.register("voc_detection", VocDetectionSettings)
def load(settings: VocDetectionSettings) -> Splits:
    """Pascal VOC detection (2007, 2011 or 2012; 20 classes and the background) in its own layout."""
    refuse(settings.problems())
    folder = settings.folder
    parts = deal_parts(folder, "Main", settings, lambda image: _files(folder, image))
    size = (settings.size, settings.size)
    splits = {name: load_annotated([_read(folder, image) for image in images], size) for name, images in parts.items()}
    mean, std = settings.statistics
    augment = shift_and_flip(settings.shift, settings.flip) if settings.shift or settings.flip else None
    return Splits(
        splits["train"], splits["val"], splits["test"], len(CLASS_NAMES), mean, std, augment, CLASS_NAMES
    )  # fmt: skip


def _files(folder: Path, image: str) -> tuple[Path, Path]:
    return folder / "JPEGImages" / f"{image}.jpg", folder / "Annotations" / f"{image}.xml"


def _read(folder: Path, image: str) -> Annotated:
    picture, file = _files(folder, image)
    root = _tree(file)
    sizes = [root.findtext(f"size/{side}", "") for side in ("width", "height")]
    width, height = (int(side) if side.isdecimal() else 0 for side in sizes)
    boxes = tuple(_box(found, f"{file}: object {number}") for number, found in enumerate(root.iter("object"), start=1))
    return Annotated(picture, (width, height) if width and height else None, boxes)


def _tree(file: Path) -> ElementTree.Element:
    """The file's elements. A file that defines entities is refused: expanded, a few lines can fill all memory."""
    try:
        data = file.read_bytes()
        tree = None if any(mark in data for mark in REFUSED) else ElementTree.fromstring(data)
    except (OSError, ElementTree.ParseError, ValueError) as error:
        raise InputError(f"{file} cannot be read as XML: {error}") from None
    if tree is None:
        raise InputError(f"{file} defines a document type or is no UTF-8 text; no annotation of VOC is so")
    return tree


def _box(found: ElementTree.Element, place: str) -> Box:
    name = found.findtext("name", "").strip()
    if name not in CLASS_NAMES[1:]:
        raise InputError(f"{place} is called {shown(name)}, which is no class of VOC")
    left, top, right, bottom = (_number(found.findtext(f"bndbox/{edge}", "")) for edge in EDGES)
    edges = [left and left - 1, top and top - 1, right, bottom]
    return pixel_box(CLASS_NAMES.index(name), edges, found.findtext("difficult", "0").strip() == "1", place)


def _number(text: str) -> float | None:
    """VOC's files hold fractions of pixels, too."""
    try:
        return float(text)
    except ValueError:
        return None
