"""Every data set: disjoint seeded splits of uint8 images with labels in range, and missing files told before any work.

A new data set that has defaults and needs no files is tested as it is; for others ``tests/data/files.py`` says how to
make a tiny one.
"""

from __future__ import annotations

import shlex
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from raprune.errors import InputError
from raprune.plugins.datasets.base import NO_BOX, VOID, Split, Splits, labels_problem, normalise
from raprune.registry import DATASETS, Plugin, Settings
from tests.data.files import MISSING, TINY

FEW: dict[str, dict[str, Any]] = {
    name: {"num_train": 60, "num_val": 30, "num_test": 30} for name in ("digit_scenes", "digit_boxes")
}
"""Data set -> settings that make it small, where drawing its defaults takes long."""
every = pytest.mark.parametrize("plugin", [pytest.param(plugin, id=plugin.name) for plugin in DATASETS])


@cache
def as_it_is(name: str) -> Splits:
    """A data set that needs no files; no test changes it."""
    found: Splits = DATASETS.build(name, FEW.get(name, {}))
    return found


def load(plugin: Plugin, settings: dict[str, Any], again: bool = False) -> Splits:
    """One that needs no files is drawn once for all tests, unless it shall be drawn ``again``."""
    if settings == FEW.get(plugin.name, {}) and not again:
        return as_it_is(plugin.name)
    found: Splits = DATASETS.build(plugin.name, settings)
    return found


@pytest.fixture
def settings(plugin: Plugin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    return TINY[plugin.name](tmp_path, monkeypatch) if plugin.name in TINY else FEW.get(plugin.name, {})


def named(splits: Splits) -> dict[str, Split]:
    found = {"train": splits.train, "val": splits.val, "test": splits.test}
    return {name: split for name, split in found.items() if split is not None}


def check_labels(split: Split, num_classes: int, input_shape: tuple[int, int, int]) -> None:
    """One class an image, one class a pixel, an image, or boxes."""
    labels, size = split.labels_B, list(input_shape[1:])
    if labels.dim() == 1:
        assert labels.dtype == torch.int64
    elif labels.is_floating_point():
        assert labels_problem(split.images_BCHW, labels, num_classes) is None
        labels = labels[..., 0][labels[..., 0] != NO_BOX]
        assert int(labels.min()) >= 1
        assert len(labels.unique()) > (num_classes - 1) / 2
        return
    elif labels.dim() == 3:
        assert (labels.dtype, list(labels.shape[1:])) == (torch.uint8, size)
        labels = labels[labels != VOID]
    else:
        assert (labels.dtype, list(labels.shape[1:])) == (torch.uint8, [num_classes, *size])
        return
    assert int(labels.min()) >= 0
    assert int(labels.max()) < num_classes
    assert len(labels.unique()) > num_classes / 2


@every
def test_images_and_labels(plugin: Plugin, settings: dict[str, Any]) -> None:
    splits = load(plugin, settings)
    channels, height, width = splits.input_shape
    assert len(splits.mean) == len(splits.std) == channels
    assert all(value > 0 for value in splits.std)
    for split in named(splits).values():
        assert split.images_BCHW.dtype == torch.uint8
        assert split.images_BCHW.shape == (len(split), channels, height, width)
        assert split.images_BCHW.is_contiguous()
        assert len(split) == len(split.labels_B) > 0
        check_labels(split, splits.num_classes, splits.input_shape)
    assert torch.isfinite(normalise(splits.val.images_BCHW[:4], splits)).all()


@every
def test_names_are_one_a_class(plugin: Plugin, settings: dict[str, Any]) -> None:
    names = load(plugin, settings).class_names
    assert len(set(names)) == len(names)
    assert len(names) in (0, load(plugin, settings).num_classes)


@every
def test_splits_share_no_image(plugin: Plugin, settings: dict[str, Any]) -> None:
    contents = {
        name: {image.numpy().tobytes() for image in split.images_BCHW}
        for name, split in named(load(plugin, settings)).items()
    }
    assert contents["train"].isdisjoint(contents["val"])
    assert "test" not in contents or contents["test"].isdisjoint(contents["train"] | contents["val"])


@every
def test_same_seed_same_splits(plugin: Plugin, settings: dict[str, Any]) -> None:
    one, other = named(load(plugin, settings)), named(load(plugin, settings, again=True))
    for name, split in one.items():
        assert torch.equal(split.images_BCHW, other[name].images_BCHW)
        assert torch.equal(split.labels_B, other[name].labels_B)


@every
def test_another_split_seed_gives_another_val(plugin: Plugin, settings: dict[str, Any]) -> None:
    if "split_seed" not in plugin.settings.model_fields:
        pytest.skip("this data set brings its own val")
    one, other = load(plugin, settings), load(plugin, {**settings, "split_seed": 1})
    assert one.val.images_BCHW.shape == other.val.images_BCHW.shape
    assert not torch.equal(one.val.images_BCHW, other.val.images_BCHW)


@every
def test_augmentation_is_seeded_and_keeps_the_shape(plugin: Plugin, settings: dict[str, Any]) -> None:
    splits = load(plugin, settings)
    images, labels = splits.train.images_BCHW[:8], splits.train.labels_B[:8]
    if splits.augment is None:
        pytest.skip("this data set is not augmented")

    def augment(images: Tensor, labels: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        assert splits.augment is not None
        return splits.augment(images, labels, torch.Generator().manual_seed(seed))

    first, again = augment(images, labels, 3), augment(images, labels, 3)
    for before, one, other in zip((images, labels), first, again, strict=True):
        assert (one.shape, one.dtype) == (before.shape, before.dtype)
        assert torch.equal(one, other)
    assert any(not torch.equal(first[0], augment(images, labels, seed)[0]) for seed in range(4, 8))
    if labels.dim() == 1:
        assert torch.equal(first[1], labels)
    elif not labels.is_floating_point():  # boxes: tests/data/test_boxes.py
        pictures = labels if labels.dim() == 4 else labels[:, None]
        moved, _ = augment(pictures, labels, 3)
        assert torch.equal(first[1], moved.view_as(labels))


@every
def test_missing_files_are_told_before_any_work(plugin: Plugin, settings: dict[str, Any]) -> None:
    assert (plugin.name in MISSING) == (plugin.name in TINY) == (plugin.settings.remedies is not Settings.remedies)
    check = getattr(plugin.settings, "problems", lambda _: [])
    assert check(plugin.settings.model_validate(settings)) == []
    if plugin.name not in MISSING:
        return
    found = check(plugin.settings.model_validate(MISSING[plugin.name]))
    assert found
    for key, message in found:
        assert key in plugin.settings.model_fields
        assert str(MISSING[plugin.name][key]) in message
    with pytest.raises(InputError) as caught:
        load(plugin, MISSING[plugin.name])
    assert str(caught.value) == ": ".join(found[0])


@pytest.mark.parametrize("name", sorted(MISSING))
def test_remedies_are_arguments_that_name_settings(name: str) -> None:
    plugin = DATASETS.get(name)
    remedies: list[str] = plugin.settings.model_validate(MISSING[name]).remedies()  # type: ignore[attr-defined]
    can_download = "download" in plugin.settings.model_fields
    assert len(remedies) == 1 + can_download
    assert remedies[0].startswith("--set dataset.download=true  # downloads ") == can_download
    for remedy in remedies:
        words = shlex.split(remedy, comments=True)
        assert words[::2] == ["--set"] * (len(words) // 2)
        for assignment in words[1::2]:
            key, _, value = assignment.partition("=")
            assert value
            assert key.removeprefix("dataset.") in plugin.settings.model_fields
    if can_download:
        tried = plugin.settings.model_validate({**MISSING[name], "download": True})
        assert tried.remedies() == remedies[1:]  # type: ignore[attr-defined]
