"""Pixels mean what a viewer shows, in whatever mode they are stored; ambiguous ones are refused by file name."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from raprune.errors import InputError
from raprune.plugins.datasets.base import Splits
from raprune.plugins.datasets.pixels import decode_rgb, upright_size
from raprune.registry import DATASETS
from tests.data.drawn import photo, png
from tests.data.files import write_camvid, write_parquet, write_voc

RAMP = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
COLOURS = np.stack([RAMP, RAMP.T, 255 - RAMP], 2)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def on_white(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None] / 255
    return colours * share + 255 * (1 - share)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_has_its_full_range(kind: str) -> None:
    sixteen = Image.fromarray(RAMP.astype(np.uint16) * 257)
    found = np.asarray(decode_rgb(encoded(sixteen, kind), "x"))
    assert (found == RAMP[..., None]).all()


def test_sixteen_bit_pgm() -> None:
    raw = b"P5 8 8 65535\n" + (RAMP.astype(">u2") * 257).tobytes()
    assert (np.asarray(decode_rgb(raw, "x")) == RAMP[..., None]).all()


@pytest.mark.parametrize("mode", ["LA", "RGBA", "P", "L", "RGB"])
def test_transparent_pixels_lie_on_white(mode: str) -> None:
    alpha = np.where(RAMP > 100, 255, 0).astype(np.uint8)
    grey = np.repeat(RAMP[..., None], 3, 2)
    if mode == "LA":
        image = Image.merge("LA", [Image.fromarray(RAMP), Image.fromarray(alpha)])
        expected, found = on_white(grey, alpha), np.asarray(decode_rgb(encoded(image), "x"))
    elif mode == "RGBA":
        image = Image.fromarray(np.dstack([COLOURS, alpha]))
        expected, found = on_white(COLOURS, alpha), np.asarray(decode_rgb(encoded(image), "x"))
    else:  # one colour of the others is transparent
        image = {"L": Image.fromarray(RAMP), "RGB": Image.fromarray(COLOURS)}.get(mode)
        image = image or Image.fromarray(RAMP).convert("P")
        key = {"L": 40, "RGB": tuple(int(c) for c in COLOURS[1, 2]), "P": 40}[mode]
        found = np.asarray(decode_rgb(encoded(image, transparency=key), "x"))
        plain = np.asarray(image.convert("RGB"))
        hidden = (plain == np.asarray(key if mode == "RGB" else [key] * 3)).all(2)
        assert hidden.sum() == 1
        expected = np.where(hidden[..., None], 255, plain)
    np.testing.assert_allclose(found, expected, atol=1)


def test_other_modes_are_converted() -> None:
    assert set(np.asarray(decode_rgb(encoded(Image.fromarray(RAMP > 100)), "x")).flat) == {0, 255}
    for mode in ("CMYK", "YCbCr", "LAB"):
        found = decode_rgb(encoded(Image.fromarray(COLOURS).convert("YCbCr" if mode == "LAB" else mode), "TIFF"), "x")
        assert np.abs(np.asarray(found).astype(int) - COLOURS).max() <= 6, mode


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_a_range_that_nothing_tells_is_refused(dtype: type) -> None:
    with pytest.raises(InputError, match=r"the file has pixels of mode [FI], whose range is unknown"):
        decode_rgb(encoded(Image.fromarray(RAMP.astype(dtype)), "TIFF"), "the file")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_the_turn_that_exif_asks_for_is_made(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = photo(0, 32, 48)
    turned = decode_rgb(encoded(image, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {})), "x")
    expected = np.asarray(image.transpose(Image.Transpose.ROTATE_270)).astype(int)
    assert np.abs(np.asarray(turned) - expected).mean() < 4


def exif_of(*entries: tuple[int, int, int, bytes]) -> bytes:
    """EXIF data with these entries: tag, type, count and four bytes of value each."""
    packed = b"".join(struct.pack("<HHI", *entry[:3]) + entry[3] for entry in sorted(entries))
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + packed + bytes(4)


TURN = (0x0112, 3, 1, b"\x06\0\0\0")
WEIRD = {
    "a resolution that is text": exif_of(TURN, (0x011A, 2, 1, b"7\0\0\0")),
    "a width of bytes": exif_of(TURN, (0x0100, 1, 1, b"abcd")),
    "a maker that is a number": exif_of(TURN, (0x010F, 11, 1, b"abcd")),
}


@pytest.mark.parametrize("case", WEIRD)
def test_other_tags_do_not_keep_an_image_from_its_turn(case: str) -> None:
    """Cameras and editors write tags of wrong types; only one tag matters here."""
    image = photo(0, 32, 48)
    data = encoded(image, "JPEG", exif=WEIRD[case])
    expected = np.asarray(image.transpose(Image.Transpose.ROTATE_270)).astype(int)
    assert np.abs(np.asarray(decode_rgb(data, "x")) - expected).mean() < 4
    assert upright_size(data, "x") == upright_size(data, "x", to_the_end=True) == (32, 48)


def test_exif_that_cannot_be_read_turns_nothing() -> None:
    """As in viewers."""
    data = encoded(photo(0, 32, 48), "WEBP", exif=b"no EXIF data at all")
    assert decode_rgb(data, "x").size == upright_size(data, "x") == (48, 32)


@pytest.mark.parametrize("data", [b"", b"no image"])
def test_what_is_no_image_is_told_in_words(data: bytes) -> None:
    why = "it is no image of a format that Pillow knows" if data else "it is empty, 0 bytes"
    for read in (decode_rgb, upright_size):
        with pytest.raises(InputError, match=rf"^the file cannot be decoded: {why}$"):
            read(data, "the file")


def load(name: str, **settings: object) -> Splits:
    return DATASETS.build(name, settings)  # type: ignore[no-any-return]


def test_the_data_sets_of_files_read_sixteen_bits(tmp_path: Path) -> None:
    wide = [Image.fromarray((np.roll(RAMP, i).astype(np.uint16)) * 257) for i in range(8)]
    for i, image in enumerate(wide):
        folder = tmp_path / "folder" / "ab"[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        image.save(folder / f"{i}.png")
    splits = load("image_folder", root=str(tmp_path / "folder"), size=8, resize=8, num_val=2, shift=0, flip=False)
    assert 100 < float(splits.train.images_BCHW.float().mean()) < 150
    write_parquet(tmp_path / "train.parquet", [encoded(image) for image in wide], [i % 2 for i in range(8)])
    splits = load("image_parquet", train=str(tmp_path / "train.parquet"), num_classes=2, num_val=2)
    assert 100 < float(splits.train.images_BCHW.float().mean()) < 150


def test_segmentation_reads_sixteen_bits_and_refuses_what_is_turned(tmp_path: Path) -> None:
    for split, number in (("train", 3), ("val", 2)):
        write_camvid(tmp_path, split, number)
    file = tmp_path / "train" / "train_00000.png"
    grey = np.asarray(Image.open(file).convert("L"))
    Image.fromarray(grey.astype(np.uint16) * 257).save(file)
    found = load("camvid", root=str(tmp_path)).train.images_BCHW[0]
    assert torch.equal(found, torch.from_numpy(np.repeat(grey[None], 3, 0)))
    exif = Image.Exif()
    exif[0x0112] = 3
    for where in ("train", "trainannot"):
        file = tmp_path / where / "train_00001.png"
        with Image.open(file) as image:
            image.load()
        image.save(file, exif=exif)
        with pytest.raises(InputError, match=rf"{file} has the EXIF orientation 3: turn the pixels"):
            load("camvid", root=str(tmp_path))
        image.save(file, exif=Image.Exif())


def test_voc_reads_an_image_with_alpha(tmp_path: Path) -> None:
    write_voc(tmp_path / "VOCdevkit" / "VOC2012")
    file = tmp_path / "VOCdevkit" / "VOC2012" / "JPEGImages" / "2007_000000.jpg"
    image = Image.open(file)
    transparent = np.dstack([np.asarray(image), np.zeros((image.height, image.width), np.uint8)])
    file.write_bytes(png(transparent))
    settings = {"root": str(tmp_path), "size": 48, "num_val": 3, "flip": False}
    splits = load("voc_segmentation", **settings)
    images = torch.cat([splits.train.images_BCHW, splits.val.images_BCHW])
    assert float((images == 255).flatten(1).float().mean(1).max()) > 0.6
