"""Pascal VOC and CamVid: labels as written, padding, void, resizing; bad files are refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from raprune.plugins.datasets.base import VOID
from tests.data.drawn import photo
from tests.data.files import annotation, camvid, cut, load, refused, save_palette, voc_segmentation, write_voc

VOC = "VOCdevkit/VOC2012"
LISTS = f"{VOC}/ImageSets/Segmentation"


@pytest.fixture
def voc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    return voc_segmentation(tmp_path, monkeypatch)


@pytest.fixture
def frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    return camvid(tmp_path, monkeypatch)


def test_voc_pads_right_and_bottom(voc: dict[str, Any]) -> None:
    splits = load("voc_segmentation", voc)
    assert splits.test is not None
    assert (len(splits.train), len(splits.val), len(splits.test)) == (5, 3, 4)
    assert splits.input_shape == (3, 48, 48)
    assert splits.class_names[:2] == ("background", "aeroplane")
    for i, (image, labels) in enumerate(zip(splits.test.images_BCHW, splits.test.labels_B, strict=True), 8):
        height, width = 33 + i, 48 - i
        assert np.array_equal(labels[:height, :width], annotation(i, height, width, 21, 255))
        assert (labels[height:] == VOID).all()
        assert (labels[:, width:] == VOID).all()
        written = np.asarray(photo(i, height, width)).transpose(2, 0, 1).astype(float)
        assert np.abs(image[:, :height, :width].numpy() - written).mean() < 8  # JPEG
        assert image[:, -1, -1].tolist() == image[:, height, 0].tolist() == [124, 116, 104]


def test_voc_cut_down(voc: dict[str, Any]) -> None:
    whole, small = load("voc_segmentation", voc), load("voc_segmentation", {**voc, "num_train": 2, "num_test": 3})
    assert small.test is not None
    assert (len(small.train), len(small.val), len(small.test)) == (2, 3, 3)
    assert torch.equal(small.train.labels_B, whole.train.labels_B[:2])
    assert torch.equal(small.val.labels_B, whole.val.labels_B)


def test_voc_2011_lies_elsewhere(tmp_path: Path) -> None:
    settings = {"root": str(tmp_path), "year": "2011", "size": 48, "num_val": 3}
    assert refused("voc_segmentation", settings).startswith("root: has no TrainVal/VOCdevkit/VOC2011")
    write_voc(tmp_path / "TrainVal" / "VOCdevkit" / "VOC2011")
    assert len(load("voc_segmentation", settings).train) == 5


def test_camvid(frames: dict[str, Any], tmp_path: Path) -> None:
    splits = load("camvid", frames)
    assert splits.test is not None
    assert (len(splits.train), len(splits.val), len(splits.test)) == (7, 3, 2)
    for split in (splits.train, splits.val, splits.test):
        for i, labels in enumerate(split.labels_B):
            written = annotation(i, 32, 40, 11, 11)
            assert np.array_equal(labels, np.where(written == 11, VOID, written))
    (tmp_path / "train.txt").unlink()
    again = load("camvid", {**frames, "num_train": 3})
    assert torch.equal(again.train.images_BCHW, splits.train.images_BCHW[[0, 2, 4]])
    (tmp_path / "testannot").rename(tmp_path / "unlabelled")
    assert load("camvid", frames).test is None


def test_camvid_resized(frames: dict[str, Any], tmp_path: Path) -> None:
    whole, large = load("camvid", frames), load("camvid", {**frames, "height": 64, "width": 80})
    assert large.input_shape == (3, 64, 80)
    assert torch.equal(large.val.labels_B, whole.val.labels_B.repeat_interleave(2, 1).repeat_interleave(2, 2))
    blurred = torch.nn.functional.interpolate(whole.val.images_BCHW.float(), size=(64, 80), mode="bilinear")
    assert (blurred - large.val.images_BCHW).abs().max() <= 1
    photo(1, 50, 50).save(tmp_path / "val" / "val_00001.png")
    Image.fromarray(annotation(1, 50, 50, 11, 11)).save(tmp_path / "valannot" / "val_00001.png")
    assert f"{tmp_path}/val/val_00001.png has 50x50 pixels, train_00000.png 40x32" in refused("camvid", frames)
    assert len(load("camvid", {**frames, "height": 32, "width": 40}).val) == 3
    assert refused("camvid", {**frames, "height": 64}) == "width: is required where height is given"


def spoil_voc_annotation_gone(root: Path) -> str:
    (root / VOC / "SegmentationClass" / "2007_000002.png").unlink()
    image = root / VOC / "JPEGImages" / "2007_000002.jpg"
    return f"{image} has no annotation; no such file: {root}/{VOC}/SegmentationClass/2007_000002.png"


def spoil_voc_image_gone(root: Path) -> str:
    (root / VOC / "JPEGImages" / "2007_000009.jpg").unlink()
    return f"{root}/{VOC}/JPEGImages/2007_000009.jpg: no such file"


def spoil_voc_label_outside(root: Path) -> str:
    labels = annotation(3, 36, 45, 21, 255)
    labels[7, 5] = 21
    save_palette(labels, root / VOC / "SegmentationClass" / "2007_000003.png")
    place = f"{root}/{VOC}/SegmentationClass/2007_000003.png: row 7, column 5"
    return f"{place} has label 21; labels are 0 to 20, and 255 for void"


def spoil_voc_colours_for_labels(root: Path) -> str:
    photo(3, 36, 45).save(root / VOC / "SegmentationClass" / "2007_000003.png")
    return f"{root}/{VOC}/SegmentationClass/2007_000003.png: an annotation must have palette or 8-bit grey pixels"


def spoil_voc_truncated(root: Path) -> str:
    cut(root / VOC / "JPEGImages" / "2007_000010.jpg")
    return f"{root}/{VOC}/JPEGImages/2007_000010.jpg cannot be decoded: "


def spoil_voc_truncated_annotation(root: Path) -> str:
    cut(root / VOC / "SegmentationClass" / "2007_000010.png")
    return f"{root}/{VOC}/SegmentationClass/2007_000010.png cannot be decoded"


def spoil_voc_other_size(root: Path) -> str:
    save_palette(annotation(4, 36, 44, 21, 255), root / VOC / "SegmentationClass" / "2007_000004.png")
    return f"{root}/{VOC}/SegmentationClass/2007_000004.png has 44x36 pixels, its image 2007_000004.jpg 44x37"


def spoil_voc_too_large(root: Path) -> str:
    photo(0, 49, 40).save(root / VOC / "JPEGImages" / "2007_000000.jpg")
    save_palette(annotation(0, 49, 40, 21, 255), root / VOC / "SegmentationClass" / "2007_000000.png")
    return f"{root}/{VOC}/JPEGImages/2007_000000.jpg has 40x49 pixels, more than 48x48"


def spoil_voc_twice(root: Path) -> str:
    (root / LISTS / "train.txt").write_text("2007_000001\n2007_000002\n2007_000001\n2007_000003\n2007_000004\n")
    return f"{root}/{LISTS}/train.txt names 2007_000001 twice"


def spoil_voc_overlap(root: Path) -> str:
    with (root / LISTS / "val.txt").open("a") as file:
        file.write("2007_000006\n")
    inside = f"2007_000006 of {root}/{LISTS}"
    return f"splits overlap: {inside}/val.txt (val) is the same image as {inside}/train.txt (train)"


def spoil_voc_no_list(root: Path) -> str:
    (root / LISTS / "val.txt").unlink()
    return f"{root}/{LISTS}/val.txt: the list of images cannot be read: No such file"


def spoil_voc_empty_list(root: Path) -> str:
    (root / LISTS / "val.txt").write_text("\n")
    return f"{root}/{LISTS}/val.txt: the list of images is empty"


def spoil_voc_short_list(root: Path) -> str:
    (root / LISTS / "train.txt").write_text("2007_000001\n2007_000002\n2007_000003\n")
    return f"{root}/{LISTS}/train.txt names 3 images; num_val takes 3 of them"


def spoil_voc_list_leads_out(root: Path) -> str:
    with (root / LISTS / "val.txt").open("a") as file:
        file.write("../../../../secret\n")
    return f"{root}/{LISTS}/val.txt:5: '../../../../secret' leads out of {root}/{VOC}; a list names files inside it"


def spoil_voc_list_is_absolute(root: Path) -> str:
    (root / LISTS / "train.txt").write_text(f"2007_000001\n\n{root.parent}/secret\n")
    return f"{root}/{LISTS}/train.txt:3: '{root.parent}/secret' leads out of {root}/{VOC}"


def spoil_camvid_list_leads_out(root: Path) -> str:
    (root / "val.txt").write_text("/SegNet/../secret.png /SegNet/../secret.png\n")
    return f"{root}/val.txt:1: '/SegNet/../secret.png /SegNet/../secret.png' leads out of {root}"


def spoil_camvid_label_outside(root: Path) -> str:
    labels = annotation(1, 32, 40, 11, 11)
    labels[3, 4] = 12
    Image.fromarray(labels).save(root / "valannot" / "val_00001.png")
    return f"{root}/valannot/val_00001.png: row 3, column 4 has label 12; labels are 0 to 10, and 11 for void"


def spoil_camvid_annotation_gone(root: Path) -> str:
    (root / "testannot" / "test_00001.png").unlink()
    return f"{root}/test/test_00001.png has no annotation; no such file: {root}/testannot/test_00001.png"


def spoil_camvid_truncated(root: Path) -> str:
    cut(root / "train" / "train_00002.png")
    return f"{root}/train/train_00002.png cannot be decoded"


def spoil_camvid_overlap(root: Path) -> str:
    (root / "test" / "test_00000.png").write_bytes((root / "train" / "train_00003.png").read_bytes())
    return f"{root}/test/test_00000.png (test) is the same image as {root}/train/train_00003.png (train)"


def spoil_camvid_twice(root: Path) -> str:
    lines = (root / "val.txt").read_text()
    (root / "val.txt").write_text(lines + lines.splitlines()[1].replace("/SegNet", ""))
    return f"{root}/val.txt names val/val_00001.png twice"


def spoil_camvid_half_a_line(root: Path) -> str:
    (root / "val.txt").write_text("/SegNet/CamVid/val/val_00001.png\n")
    return f"{root}/val.txt: a line must have the paths of an image and of its annotation; got '/SegNet"


def spoil_camvid_empty(root: Path) -> str:
    for file in (root / "test").iterdir():
        file.unlink()
    return f"{root}/test: the folder has no images"


SPOILS = {name.removeprefix("spoil_"): f for name, f in sorted(globals().items()) if name.startswith("spoil_")}


@pytest.mark.parametrize("spoil", SPOILS)
def test_bad_data_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: str) -> None:
    build = voc_segmentation if spoil.startswith("voc_") else camvid
    settings = build(tmp_path, monkeypatch)
    message = SPOILS[spoil](tmp_path)
    assert message in refused(build.__name__, settings)


def test_real_camvid(data_root: Path) -> None:
    splits = load("camvid", {"root": str(data_root / "camvid")})
    assert (len(splits.train), len(splits.val), splits.test) == (367, 101, None)
    assert splits.input_shape == (3, 180, 240)
    assert int((splits.val.labels_B == VOID).sum()) == 74417
    labelled = torch.bincount(splits.val.labels_B.flatten())[:11]
    assert splits.class_names[int(labelled.argmax())] == "Road"
    assert splits.class_names[int(labelled.argmin())] == "Pole"
