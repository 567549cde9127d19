"""``page.json`` comes from anywhere: what a page's script relies on is checked, and each error names the file."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raprune.errors import DamagedError
from raprune.results import read_page_copy, write_page_copy
from raprune.results.page_copy import PAGE_COPY_FILE

CONV: dict[str, Any] = {
    "op": "conv", "layer": "features.0", "shape": [2, 1, 3, 3], "stride": [1, 1], "padding": [1, 1],
    "weights": "A" * 18, "scales": [0.1, 0.2], "bias": [0.0, 1.0], "num_filters": 4, "kept": [0, 3],
}  # fmt: skip
POOL: dict[str, Any] = {"op": "max_pool", "size": [2, 2], "stride": [2, 2], "padding": [0, 0]}
LINEAR: dict[str, Any] = {
    "op": "linear", "layer": "last", "shape": [3, 8], "weights": "b" * 24, "scales": [0.5] * 3, "bias": [0.0] * 3,
}  # fmt: skip
EXAMPLE: dict[str, Any] = {"index": 7, "label": 2, "pixels": [0, 255] * 8}
SOUND: dict[str, Any] = {
    "input_shape": [1, 4, 4], "mean": [0.5], "std": [0.25], "class_names": ["a", "b", "c"],
    "drawn": {"bitmap": 8, "width": 6, "cells": 4, "pen": 1.5}, "split": "test",
    "num_images": 50, "num_right": 40, "num_right_unrounded": 41, "examples": [EXAMPLE], "wrong": [],
    "steps": [CONV, {"op": "relu"}, POOL, {"op": "flatten"}, LINEAR],
}  # fmt: skip


def test_a_copy_comes_back_and_goes_again(tmp_path: Path) -> None:
    assert read_page_copy(tmp_path) is None
    write_page_copy(tmp_path, SOUND, "abc")
    assert read_page_copy(tmp_path) == {"format_version": 1, "baseline": "abc", **SOUND}
    write_page_copy(tmp_path, None, "abc")
    assert list(tmp_path.iterdir()) == []


def at(*path: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    """Replaces what stands at a path; removes it, if ``value`` is ``...``."""

    def change(data: dict[str, Any]) -> None:
        inner: Any = data
        for key in path[:-1]:
            inner = inner[key]
        if value is ...:
            del inner[path[-1]]
        else:
            inner[path[-1]] = value

    return change


DAMAGE = {
    "no steps": at("steps", value=...),
    "an empty network": at("steps", value=[]),
    "another version": at("format_version", value=2),
    "a step of another kind": at("steps", 0, "op", value="eval"),
    "a step that is a text": at("steps", 0, value="relu"),
    "an op that is a list": at("steps", 0, "op", value=["conv"]),
    "markup among the weights": at("steps", 0, "weights", value="<" * 18),
    "too few weights": at("steps", 0, "weights", value="A" * 17),
    "a size of zero": at("steps", 0, "shape", 0, value=0),
    "a size that is true": at("steps", 0, "shape", 1, value=True),
    "other channels": at("input_shape", 0, value=3),
    "a huge image": at("input_shape", value=[1, 4096, 4096]),
    "a stride of zero": at("steps", 0, "stride", value=[0, 1]),
    "a negative padding": at("steps", 0, "padding", value=[-1, 1]),
    "sides that are both negative": at("steps", 2, value=POOL | {"size": [9, 9]}),
    "work without end": lambda data: data.update(
        input_shape=[1, 4096, 4096], examples=[], steps=[CONV | {"stride": [1, 1]}, *data["steps"][1:]]
    ),
    "a scale that is a text": at("steps", 0, "scales", 0, value="0.1"),
    "a bias too few": at("steps", 4, "bias", value=[0.0]),
    "a filter twice": at("steps", 0, "kept", value=[3, 3]),
    "a filter that never was": at("steps", 0, "kept", value=[0, 4]),
    "a negative filter": at("steps", 0, "kept", value=[-1, 0]),
    "no filters": at("steps", 0, "kept", value=...),
    "other classes": at("class_names", value=["a", "b"]),
    "a class that is a number": at("class_names", 0, value=1),
    "a deviation of zero": at("std", value=[0]),
    "more right than there are": at("num_right", value=51),
    "an unknown split": at("split", value="<b>"),
    "a pixel too bright": at("examples", 0, "pixels", 0, value=256),
    "a pixel that is a text": at("examples", 0, "pixels", 0, value="0"),
    "a pixel too few": at("examples", 0, "pixels", value=[0] * 15),
    "a label of no class": at("examples", 0, "label", value=3),
    "an example that is a list": at("examples", value=[[]]),
    "cells that do not fit": at("drawn", "cells", value=3),
    "a huge bitmap": at("drawn", "bitmap", value=4096),
    "a pen without ink": at("drawn", "pen", value=0),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_is_named(what: str, tmp_path: Path) -> None:
    data = copy.deepcopy({"format_version": 1, **SOUND})
    DAMAGE[what](data)
    write_page_copy(tmp_path, data, "abc")
    with pytest.raises(DamagedError) as error:
        read_page_copy(tmp_path)
    assert str(error.value).startswith(f"{tmp_path / PAGE_COPY_FILE} is damaged: ")
    assert "run the study again" in str(error.value)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"steps": NaN}', '"x"'])
def test_what_is_no_copy_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / PAGE_COPY_FILE).write_text(content)
    with pytest.raises(DamagedError, match=r"page\.json is damaged"):
        read_page_copy(tmp_path)
