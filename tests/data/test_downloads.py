"""Downloads through torchvision: an error message without a network; nothing is downloaded twice."""

from __future__ import annotations

import urllib.error
from pathlib import Path
from typing import Any

import pytest

from raprune.errors import MissingDataError
from raprune.plugins.datasets.base import Splits
from raprune.registry import DATASETS
from tests.data.files import cifar10, voc_segmentation, write_voc

FOLDERS = {"2011": "TrainVal/VOCdevkit/VOC2011", "2012": "VOCdevkit/VOC2012"}


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("urllib.request.urlopen", fail)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("name", ["cifar10", "voc_segmentation"])
def test_a_download_that_fails(tmp_path: Path, name: str) -> None:
    settings = {"root": str(tmp_path), "download": True}
    assert DATASETS.get(name).settings.model_validate(settings).problems() == []  # type: ignore[attr-defined]
    with pytest.raises(MissingDataError) as caught:
        DATASETS.build(name, settings)
    assert f"in {str(tmp_path)!r} cannot be downloaded: " in str(caught.value)
    assert "no network" in str(caught.value)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("builder", [cifar10, voc_segmentation])
def test_what_is_there_needs_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, builder: Any) -> None:
    settings = builder(tmp_path, monkeypatch)
    splits: Splits = DATASETS.build(builder.__name__, {**settings, "download": True})
    assert len(splits.train) > 0


def test_damaged_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = cifar10(tmp_path, monkeypatch)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: False)
    with pytest.raises(MissingDataError, match="cannot be used: Dataset not found or corrupted"):
        DATASETS.build("cifar10", settings)


@pytest.mark.parametrize("year", ["2011", "2012"])
def test_voc_is_downloaded_where_a_listed_file_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, year: str
) -> None:
    calls = []

    def unpack(url: str, root: str, **_: Any) -> None:
        calls.append((url, str(root)))
        write_voc(Path(root) / FOLDERS[year])

    monkeypatch.setattr("torchvision.datasets.voc.download_and_extract_archive", unpack)
    voc = tmp_path / FOLDERS[year]
    (voc / "ImageSets" / "Segmentation").mkdir(parents=True)
    for name in ("train", "val"):
        (voc / "ImageSets" / "Segmentation" / f"{name}.txt").write_text("2007_000000\n")
    settings = {"root": str(tmp_path), "year": year, "download": True, "size": 48, "num_val": 3}
    splits: Splits = DATASETS.build("voc_segmentation", settings)
    assert len(splits.train) == 5
    ((url, root),) = calls
    assert f"voc{year}" in url
    assert root == str(tmp_path)
    DATASETS.build("voc_segmentation", settings)
    assert len(calls) == 1
