"""Encoded images become pixels: 8 bits per channel in RGB, as a viewer shows them; bad ones are refused by name."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from raprune.errors import InputError, first_line, meaning

AT_ONCE = 4096
"""Calls that wait for a thread, at most."""


def decode(source: Path | bytes, name: str) -> Image.Image:
    """A completely decoded image; :class:`InputError` calls it ``name`` where it cannot be decoded."""
    with _opened(source, name) as image:
        image.load()
        return image


@contextmanager
def _opened(source: Path | bytes, name: str) -> Iterator[Image.Image]:
    """An image to be read in the block; :class:`InputError` calls it ``name`` where it cannot be."""
    try:
        data = source if isinstance(source, bytes) else source.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{name}: no such file") from None
    except OSError as error:
        raise InputError(f"{name} cannot be read: {meaning(error)}") from None
    if not data:
        raise InputError(f"{name} cannot be decoded: it is empty, 0 bytes")
    try:
        with Image.open(io.BytesIO(data)) as image:
            yield image
    except UnidentifiedImageError:
        raise InputError(f"{name} cannot be decoded: it is no image of a format that Pillow knows") from None
    except Exception as error:  # a damaged file may raise anything in the decoder of its format
        raise InputError(f"{name} cannot be decoded: {first_line(error)}") from None


WIDE_GREY = ("I", "I;16", "I;16B", "I;16L", "I;16N")
"""Pillow's modes of 16-bit grey images; ``I`` means 16 bits only in the formats below."""
SIXTEEN_BITS = ("PNG", "PPM", "JPEG2000")
ORIENTATION = 0x0112
"""The EXIF tag that says how to turn an image; 1 means not at all."""
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
"""Value of that tag -> how to turn the pixels."""
SIDEWAYS = (5, 6, 7, 8)
"""Values that exchange width and height."""


def decode_rgb(source: Path | bytes, name: str) -> Image.Image:
    """A decoded image in RGB, 8 bits per channel, as a viewer shows it; :class:`InputError` calls it ``name``.

    16-bit grey is scaled by its full range, transparent pixels are laid on white, and the image is turned as EXIF says.
    Images of floats and of 32-bit integers are refused, since nothing says which value is white.
    """
    return as_rgb(decode(source, name), name)


def centre_crop(image: Image.Image, resize: int, size: int) -> Image.Image:
    """Resize the shorter side to ``resize`` pixels, then crop ``size`` x ``size`` pixels from the centre."""
    shorter = min(image.size)
    width, height = (resize if side == shorter else int(resize * side / shorter) for side in image.size)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return image.resize((width, height), Image.Resampling.BILINEAR).crop((left, top, left + size, top + size))


def orientation(image: Image.Image) -> int:
    """How EXIF asks to turn an image, 1 (not at all) to 8; 1 where its EXIF data cannot be read, as viewers have it."""
    try:
        found = image.getexif().get(ORIENTATION, 1)
    except Exception:  # damaged metadata may raise anything
        return 1
    return int(found) if found in TURNS else 1


def upright_size(source: Path | bytes, name: str, to_the_end: bool = False) -> tuple[int, int]:
    """Width and height of the image that :func:`decode_rgb` would return, read without decoding it.

    ``to_the_end``: all of it is read, so that one that is cut off is noticed; a JPEG is not scaled up to its pixels.
    """
    with _opened(source, name) as image:
        width, height = image.size
        if to_the_end:
            image.draft("RGB", (1, 1))
            image.load()
        turned = image.format != "TIFF" and orientation(image) in SIDEWAYS
    return (height, width) if turned else (width, height)


def as_rgb(image: Image.Image, name: str, upright: bool = True) -> Image.Image:
    """As :func:`decode_rgb`, for an image that is decoded; without ``upright`` its pixels stay as they are stored."""
    turn = TURNS.get(orientation(image)) if upright else None
    image = _eight_bit(image, name)
    image = image if turn is None else image.transpose(turn)
    try:
        if image.mode in ("LA", "PA", "RGBA", "RGBa") or "transparency" in image.info:
            white = Image.new("RGBA", image.size, "white")
            return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
        return image.convert("RGB")
    except ValueError as error:
        raise InputError(f"{name} has pixels of mode {image.mode}, which cannot be converted to RGB: {error}") from None


def _eight_bit(image: Image.Image, name: str) -> Image.Image:
    """16-bit grey converted to 8 bits, metadata kept; other images as they are."""
    if image.mode not in (*WIDE_GREY, "F"):
        return image
    if image.mode == "F" or (image.mode == "I" and image.format not in SIXTEEN_BITS):
        raise InputError(f"{name} has pixels of mode {image.mode}, whose range is unknown: convert it to 8 or 16 bits")
    grey = Image.fromarray(((np.asarray(image).astype(np.int64) * 255 + 32767) // 65535).astype(np.uint8))
    grey.info = {key: value for key, value in image.info.items() if key != "transparency"}
    return grey


def for_each(number: int, fill: Callable[[int], None]) -> None:
    """``fill(0)`` to ``fill(number - 1)`` on all cores; the error of the lowest index is raised."""
    with ThreadPoolExecutor() as pool:
        for start in range(0, number, AT_ONCE):
            for _ in pool.map(fill, range(start, min(start + AT_ONCE, number))):
                pass


def content(source: Path | bytes) -> bytes:
    """Digest of the bytes of a file or of an encoded image."""
    return hashlib.sha256(source if isinstance(source, bytes) else source.read_bytes()).digest()
