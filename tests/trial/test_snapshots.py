"""A trial's state on disk: what was changed there is refused by the name of its file, or computed again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from raprune.errors import ResultsError
from raprune.network.masks import KeepMask
from raprune.network.state import State
from raprune.trial.snapshots import Snapshots


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def other_mask(file: Path) -> None:
    found = json.loads(file.read_text())
    found["plan"]["conv"][-1] ^= 1
    file.write_text(json.dumps(found))


def no_mask(file: Path) -> None:
    found = json.loads(file.read_text())
    found["plan"]["conv"] = [8, 255]
    file.write_text(json.dumps(found))


DAMAGES: list[tuple[str, Callable[[Path], object]]] = [
    ("0.safetensors", flip),
    ("0.safetensors", lambda file: file.write_bytes(b"cut off")),
    ("0.safetensors", lambda file: file.unlink()),
    ("0.json", other_mask),
    ("0.json", no_mask),
    ("0.json", lambda file: file.write_text("{")),
    ("0.json", lambda file: file.write_text("[]")),
    ("0.json", lambda file: file.write_text("{}")),
    ("0.json", lambda file: file.unlink()),
    ("0.json", lambda file: file.write_bytes(b"\xff\xfe")),
    ("order.json", lambda file: file.write_text("[")),
    ("order.json", lambda file: file.write_text('{"order": ["conv"], "num_candidates": 3, "images_scored": "many"}')),
]


@pytest.mark.parametrize(
    ("content", "images"),
    [
        ('["conv"]', None),
        ('{"order": ["conv"], "num_candidates": 3}', None),
        ('{"order": ["conv"], "num_candidates": 0}', 0),
        ('{"order": ["conv"], "num_candidates": 3, "images_scored": 70}', 70),
        (None, 0),
    ],
)
def test_an_order_of_an_earlier_version_has_no_count_of_images(
    tmp_path: Path, content: str | None, images: int | None
) -> None:
    if content is not None:
        (tmp_path / "order.json").write_text(content)
    snapshots = Snapshots(tmp_path, "key")
    assert snapshots.order() == (None if content is None else ["conv"])
    assert snapshots.order_images() == images


@pytest.mark.parametrize(("name", "damage"), DAMAGES)
def test_what_was_changed_is_refused(tmp_path: Path, name: str, damage: Callable[[Path], object]) -> None:
    snapshots = Snapshots(tmp_path / "state", "key")
    state = State("key", {"conv": KeepMask(b"\1\0\0\1")}, {"conv.weight": np.ones((3, 2), np.float32)})
    snapshots.save(0, state, {})
    snapshots.save_order(["conv"], 0, 0)
    assert snapshots.load(0).version == state.version
    assert snapshots.order() == ["conv"]
    damage(tmp_path / "state" / name)
    with pytest.raises(ResultsError, match=f"0|order.*; delete {tmp_path} to start its trial again"):
        snapshots.order() if name == "order.json" else snapshots.load(0)


@pytest.mark.parametrize("content", ["{", "[]", '{"val_score": "high"}', "{}"])
def test_a_shared_score_is_computed_again(tmp_path: Path, content: str) -> None:
    (tmp_path / "score.json").write_text(content)
    assert Snapshots.shared_score(str(tmp_path), "score", lambda: 7.5) == 7.5
    assert Snapshots.shared_score(str(tmp_path), "score", lambda: 0.0) == 7.5
