"""``page.json``: a small copy of a network that runs in the report's page. Written at a trial's end, and read back.

Imports neither torch nor ray. The file may be anybody's: whatever the page's script relies on is checked here.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from raprune.errors import DamagedError
from raprune.results.files import read_json, write_json_line
from raprune.system.store import removed

PAGE_COPY_FILE = "page.json"
"""In a trial's ``model`` folder, and in its baseline's."""
FORMAT_VERSION = 1

_KEYS: dict[str, type | tuple[type, ...]] = {
    "format_version": int, "baseline": str, "input_shape": list, "mean": list, "std": list, "class_names": list,
    "drawn": (dict, type(None)), "steps": list, "split": str, "num_images": int, "num_right": int,
    "num_right_unrounded": int, "examples": list, "wrong": list,
}  # fmt: skip
_LETTERS = re.compile("[A-Za-z0-9+/]*")
_LARGEST = 4096
"""No size, number of filters or number of images in a file of ours comes near it."""
_LARGEST_BITMAP = 256
_MOST_MACS = 10**8
"""Multiply-adds that a browser does in a second or less."""
_DRAWN = "drawn has impossible sizes"
_WAY_ON = "the report leaves its network out; delete the trial's row and run the study again to have it written anew"


def write_page_copy(folder: Path, copy: Mapping[str, Any] | None, baseline: str) -> None:
    """Write a copy into ``folder``; where there is none, remove an earlier one.

    ``baseline`` is the fingerprint of the baseline's weights: copies with the same one belong together.
    """
    file = folder / PAGE_COPY_FILE
    if copy is None:
        file.unlink(missing_ok=True)
        removed(file)
    else:
        write_json_line(file, {"format_version": FORMAT_VERSION, "baseline": baseline, **copy})


def read_page_copy(folder: Path) -> dict[str, Any] | None:
    """The copy in ``folder``; ``None`` where there is none. Raises :class:`DamagedError` for any other content."""
    file = folder / PAGE_COPY_FILE
    if not os.path.lexists(file):
        return None
    copy = read_json(file, _KEYS, _WAY_ON)
    try:
        _check(copy)
    except (_Unsound, KeyError, TypeError) as error:
        why = str(error) if isinstance(error, _Unsound) else "a part is missing or of another type"
        raise DamagedError(f"{file} is damaged: {why}; {_WAY_ON}") from None
    return copy


class _Unsound(Exception):
    """What is wrong with a file."""


def _need(holds: bool, rule: str) -> None:
    if not holds:
        raise _Unsound(rule)


def _check(copy: dict[str, Any]) -> None:
    _need(copy["format_version"] == FORMAT_VERSION, f"format_version must be {FORMAT_VERSION}")
    shape, names = copy["input_shape"], copy["class_names"]
    _need(len(shape) == 3 and all(map(_is_size, shape)), "input_shape must be three sizes")
    _need(1 < len(names) <= _LARGEST and all(isinstance(name, str) for name in names), "class_names must be texts")
    for key in ("mean", "std"):
        _need(_are_numbers(copy[key], shape[0]), f"{key} must be one number for each channel")
    _need(all(copy["std"]), "std must not be 0")
    _need(copy["split"] in ("val", "test"), "split must be val or test")
    counts = [copy[key] for key in ("num_images", "num_right", "num_right_unrounded")]
    _need(all(0 <= count <= counts[0] <= _LARGEST for count in counts), "the counts of images contradict each other")
    for example in (*copy["examples"], *copy["wrong"]):
        _check_example(example, math.prod(shape), len(names))
    if copy["drawn"] is not None:
        _check_drawn(copy["drawn"])
    _check_steps(copy["steps"], shape, len(names))


def _check_example(example: Mapping[str, Any], num_pixels: int, num_classes: int) -> None:
    pixels = example["pixels"]
    _need(isinstance(pixels, list) and len(pixels) == num_pixels, "an example has another number of pixels")
    _need(all(type(pixel) is int and 0 <= pixel < 256 for pixel in pixels), "an example has pixels outside 0 to 255")
    whole = type(example["label"]) is int and type(example["index"]) is int
    _need(whole and 0 <= example["label"] < num_classes and example["index"] >= 0, "an example has an unknown label")


def _check_drawn(drawn: Mapping[str, Any]) -> None:
    sides = [drawn["bitmap"], drawn["cells"]]
    sizes = all(map(_is_size, sides)) and sides[0] % sides[1] == 0 and sides[0] <= _LARGEST_BITMAP
    lengths = [drawn["width"], drawn["pen"]]
    _need(sizes and _are_numbers(lengths, 2) and all(0 < length <= drawn["bitmap"] for length in lengths), _DRAWN)


def _check_steps(steps: list[Any], input_shape: list[int], num_classes: int) -> None:
    """Follow the sizes from the input to the classes."""
    _need(len(steps) <= _LARGEST, "it has too many steps")
    shape, macs = input_shape, 0
    for step in steps:
        check = _STEPS.get(step["op"])
        _need(check is not None, "it has an unknown step")
        assert check is not None
        shape = check(step, shape)
        macs += len(step.get("weights", "")) * math.prod(shape[1:])
        _need(min(shape) > 0 and macs <= _MOST_MACS, "a step has no output, or takes too long")
    _need(shape == [num_classes], "its last step does not give one number for each class")


def _conv(step: Mapping[str, Any], shape: list[int]) -> list[int]:
    weights = _layer(step)
    _need(len(weights) == 4 and len(shape) == 3 and weights[1] == shape[0], "a convolution does not fit its input")
    kept = step["kept"]
    places = isinstance(kept, list) and all(type(place) is int for place in kept)
    _need(places and len(kept) == weights[0] and _is_size(step["num_filters"]), "a convolution's filters do not fit")
    rising = sorted(set(kept)) == kept and (kept[0] >= 0 and kept[-1] < step["num_filters"])
    _need(rising, "a convolution keeps filters that it does not have")
    return [weights[0], *_slid(step, shape[1:], weights[2:])]


def _linear(step: Mapping[str, Any], shape: list[int]) -> list[int]:
    weights = _layer(step)
    _need(len(weights) == 2 and [weights[1]] == shape, "a linear layer does not fit its input")
    return [weights[0]]


def _layer(step: Mapping[str, Any]) -> list[int]:
    weights: list[int] = step["shape"]
    _need(isinstance(weights, list) and len(weights) > 1 and all(map(_is_size, weights)), "a layer has no sizes")
    letters = step["weights"]
    sound = isinstance(letters, str) and len(letters) == math.prod(weights) and _LETTERS.fullmatch(letters)
    _need(bool(sound) and isinstance(step["layer"], str), "a layer has other weights than its size needs")
    for key in ("scales", "bias"):
        _need(_are_numbers(step[key], weights[0]), f"a layer has other {key} than its size needs")
    return weights


def _pool(step: Mapping[str, Any], shape: list[int]) -> list[int]:
    _need(len(shape) == 3, "a pooling has no image")
    return [shape[0], *_slid(step, shape[1:], step["size"])]


def _slid(step: Mapping[str, Any], sides: list[int], window: Any) -> list[int]:
    """Height and width after a window of that size has slid over an image."""
    pairs = [window, step["stride"], step["padding"]]
    _need(all(isinstance(pair, list) and len(pair) == 2 for pair in pairs), "a window is not a pair")
    sound = all(map(_is_size, [*window, *step["stride"]])) and all(type(p) is int for p in step["padding"])
    _need(sound and all(0 <= p < w for p, w in zip(step["padding"], window, strict=True)), "a window has no size")
    triples = zip(sides, *pairs, strict=True)
    return [(side + 2 * padding - size) // stride + 1 for side, size, stride, padding in triples]


def _flat(step: Mapping[str, Any], shape: list[int]) -> list[int]:
    return [math.prod(shape)]


def _mean(step: Mapping[str, Any], shape: list[int]) -> list[int]:
    _need(len(shape) == 3, "a mean has no image")
    return [shape[0], 1, 1]


_STEPS = {
    "conv": _conv, "linear": _linear, "relu": lambda step, shape: shape, "max_pool": _pool, "mean_pool": _pool,
    "flatten": _flat, "global_mean": _mean,
}  # fmt: skip


def _is_size(value: object) -> bool:
    return type(value) is int and 0 < value <= _LARGEST


def _are_numbers(values: object, number: int) -> bool:
    return isinstance(values, list) and len(values) == number and all(type(value) in (int, float) for value in values)
