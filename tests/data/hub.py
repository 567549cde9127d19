"""Data sets as Hugging Face's library stores them, written with pyarrow alone."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.data.drawn import photo, pixels, png

FEATURES = {
    "picture": {"_type": "Image"},
    "kind": {"names": [f"kind {i}" for i in range(10)], "_type": "ClassLabel"},
    "number": {"dtype": "int64", "_type": "Value"},
}


def hugging_face_table(number: int, seed: int, features: dict[str, Any] | None = None) -> pa.Table:
    images = pa.array([{"bytes": png(image), "path": None} for image in pixels(number, seed)])
    columns = {"picture": images, "kind": pa.array([i % 10 for i in range(number)]), "number": pa.array(range(number))}
    described = json.dumps({"info": {"features": FEATURES if features is None else features}})
    return pa.table(columns).replace_schema_metadata({"huggingface": described})


def save_arrow(table: pa.Table, folder: Path, shards: int = 2) -> None:
    """As ``Dataset.save_to_disk`` writes it."""
    folder.mkdir(parents=True)
    names = [f"data-{i:05}-of-{shards:05}.arrow" for i in range(shards)]
    for i, name in enumerate(names):
        part = table.slice(i * len(table) // shards, (i + 1) * len(table) // shards - i * len(table) // shards)
        with pa.OSFile(str(folder / name), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
            stream.write_table(part)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))


def hugging_face(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """As ``DatasetDict.save_to_disk`` writes it."""
    for name, number, seed in (("train", 40, 0), ("test", 12, 1)):
        save_arrow(hugging_face_table(number, seed), folder / name)
    (folder / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    return {"path": str(folder), "num_val": 15}


def described_objects(names: list[str], as_struct: bool) -> dict[str, Any]:
    """What the library stores about a column of objects: a struct of lists, or a list of structs."""
    fields = {
        "bbox": {"feature": {"dtype": "float32", "_type": "Value"}, "length": 4, "_type": "List"},
        "category": {"names": names, "_type": "ClassLabel"},
    }
    if as_struct:
        return {name: {"feature": field, "_type": "List"} for name, field in fields.items()}
    return {"feature": fields, "_type": "Sequence"}


def detection_table(
    images: list[bytes], objects: list[Any], names: list[str] | None = None, as_struct: bool = True
) -> pa.Table:
    """Images with boxes, as the library stores them. Each of ``objects`` lists (left, top, width, height, class)s.

    With ``names`` the class is a ClassLabel.
    """
    one = [("bbox", pa.list_(pa.float32(), 4)), ("category", pa.int64())]
    kind = pa.struct([(name, pa.list_(field)) for name, field in one]) if as_struct else pa.list_(pa.struct(one))
    rows = [
        {"bbox": [box[:4] for box in boxes], "category": [box[4] for box in boxes]}
        if as_struct
        else [{"bbox": box[:4], "category": box[4]} for box in boxes]
        for boxes in objects
    ]
    columns = {
        "image_id": pa.array(range(len(images))),
        "image": pa.array([{"bytes": image, "path": None} for image in images]),
        "objects": pa.array(rows, kind),
    }
    features = {"image": {"_type": "Image"}, "objects": described_objects(names or [], as_struct)}
    described = json.dumps({"info": {"features": features if names else {}}})
    return pa.table(columns).replace_schema_metadata({"huggingface": described})


def hugging_face_detection(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Two classes, images of different sizes, one without an object."""
    for name, number, seed in (("train", 12, 0), ("test", 5, 100)):
        images, objects = [], []
        for i in range(number):
            buffer = io.BytesIO()
            photo(seed + i, 33 + i, 48 - i).save(buffer, "PNG")
            images.append(buffer.getvalue())
            objects.append([(2.5 * j, 3 + i, 12.5, 9, j) for j in range(i % 3)])
        save_arrow(detection_table(images, objects, ["cat", "dog"], as_struct=name == "train"), folder / name)
    (folder / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    return {"path": str(folder), "size": 40, "num_val": 4, "shift": 3}
