"""Image data sets of Hugging Face in a local folder: saved with ``save_to_disk``, or Parquet files as the hub has them.

Both hold encoded images in a struct column and describe their columns in the schema's metadata, so pyarrow reads them:
the library ``datasets`` is not needed, nothing is downloaded, and no loading script is ever run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raprune.errors import InputError, first_line, meaning
from raprune.plugins.datasets.base import Splits
from raprune.plugins.datasets.image_files import expand, refuse
from raprune.plugins.datasets.labelled import LabelledSettings, Part, splits_from
from raprune.plugins.datasets.pixels import decode_rgb
from raprune.plugins.datasets.rows import rows_of
from raprune.registry import DATASETS, nearest

WORDS = {
    "train": ("train", "training"),
    "val": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
"""Our split -> the words in names of files and folders by which Hugging Face recognises it."""
DICTIONARY, STATE = "dataset_dict.json", "state.json"
"""Files of ``DatasetDict.save_to_disk`` and ``Dataset.save_to_disk``."""
FEATURES = b"huggingface"


class HuggingFaceSettings(LabelledSettings):
    path: str
    """Folder written by ``save_to_disk``, or with the data set's Parquet files as on the hub; ``$VARIABLES`` are
    expanded."""
    image_column: str | None = None
    """Column with the images; by default the only one of type Image."""
    label_column: str | None = None
    """Column with the classes; by default the only one of type ClassLabel, or of whole numbers."""

    def problems(self) -> list[tuple[str, str]]:
        folder = expand(self.path)
        if not folder.is_dir():
            return [("path", f"no such folder: {str(folder)!r}; a data set of the hub must be downloaded first")]
        return []

    def remedies(self) -> list[str]:
        return ["--set dataset.path=/path/to/folder  # hf download NAME --repo-type dataset --local-dir FOLDER"]


@DATASETS.register("hugging_face", HuggingFaceSettings)
def load(settings: HuggingFaceSettings) -> Splits:
    """A Hugging Face image data set in a local folder (save_to_disk, or Parquet files of the hub)."""
    refuse(settings.problems())
    root = expand(settings.path)
    files = _saved(root) or _of_hub(root)
    tables = {name: _Table.read(name, of_split, settings) for name, of_split in files.items()}
    names = {table.class_names for table in tables.values()}
    if len(names) > 1:
        raise InputError(f"path: the splits in {str(root)!r} have other class names than each other")
    return splits_from({name: table.part() for name, table in tables.items()}, settings, next(iter(names)))


def _saved(root: Path) -> dict[str, list[Path]]:
    """Split -> files, of a folder that ``save_to_disk`` wrote; empty for another folder."""
    if (root / STATE).is_file():
        return {"train": _shards(root)}
    if not (root / DICTIONARY).is_file():
        return {}
    listed = _json(root / DICTIONARY).get("splits")
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise InputError(f"path: {root / DICTIONARY} is damaged: it lists no splits")
    found = {ours: name for ours, words in WORDS.items() for name in listed if name in words}
    if "train" not in found:
        raise InputError(f"path: {root / DICTIONARY} has no split called train; it has {', '.join(listed) or 'none'}")
    return {ours: _shards(root / name) for ours, name in found.items()}


def _shards(folder: Path) -> list[Path]:
    state = _json(folder / STATE)
    entries = state.get("_data_files")
    names = [entry.get("filename") if isinstance(entry, Mapping) else None for entry in entries or ()]
    if not names or not all(isinstance(name, str) and Path(name).name == name for name in names):
        raise InputError(f"path: {folder / STATE} is damaged: it lists no data files")
    if state.get("_indices_files"):
        raise InputError(f"path: {folder} keeps a selection of its rows beside them; save flatten_indices() of it")
    return [folder / str(name) for name in names]


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"path: {file} cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InputError(f"path: {file} is damaged: it is not a JSON object")
    return found


def _of_hub(root: Path) -> dict[str, list[Path]]:
    """Split -> Parquet files below ``root``, by the words in their names."""
    found: dict[str, list[Path]] = {}
    configurations = set()
    for file in sorted(root.rglob("*.parquet")):
        place = file.relative_to(root).with_suffix("")
        split = next((ours for ours in (_split_of(part) for part in reversed(place.parts)) if ours), "train")
        found.setdefault(split, []).append(file)
        configurations.add("/".join(part for part in place.parts[:-1] if _split_of(part) is None))
    if len(configurations) > 1:
        listed = ", ".join(sorted(name or "." for name in configurations))
        raise InputError(
            f"path: {str(root)!r} has Parquet files of several configurations ({listed}): name one of them"
        )
    if "train" not in found:
        what = "Parquet files, but none for train" if found else f"neither {DICTIONARY}, {STATE} nor Parquet files"
        raise InputError(f"path: {str(root)!r} has {what}")
    return found


def _split_of(name: str) -> str | None:
    """The split that a file's or folder's name tells: ``train-00000-of-00001``, ``validation``."""
    words = re.split(r"[^a-z]+", name.lower())
    return next((ours for ours, known in WORDS.items() if any(word in known for word in words)), None)


NO_CLASS = -(2**62)
"""Stands for a class that is null."""


@dataclass(frozen=True)
class _Table:
    """One split, its images still encoded."""

    name: str
    files: list[str]
    column: str
    """The column with the images."""
    labels: np.ndarray
    """(N,) int64, ``NO_CLASS`` where there is none."""
    class_names: tuple[str, ...]

    @classmethod
    def read(cls, split: str, files: list[Path], settings: HuggingFaceSettings) -> _Table:
        schemas = [_schema(file) for file in files]
        features = _features(schemas[0])
        image = _column(settings.image_column, "image_column", schemas[0], features, _is_image, files[0])
        label = _column(settings.label_column, "label_column", schemas[0], features, _is_label, files[0])
        for file, schema in zip(files, schemas, strict=True):
            if any(
                name not in schema.names or schema.field(name).type != schemas[0].field(name).type
                for name in (image, label)
            ):
                raise InputError(f"path: {file} has columns of other types than {files[0]}")
        labels = [_read(file, [label]).column(label) for file in files]
        classes = np.concatenate([part.cast(pa.int64()).fill_null(NO_CLASS).to_numpy() for part in labels])
        names = tuple(map(str, features.get(label, {}).get("names") or ()))
        return cls(f"the {split} split of {settings.path}", list(map(str, files)), image, classes, names)

    def part(self) -> Part:
        with _told(Path(self.files[0])):
            source = rows_of(self.files, self.column)

        def item(index: int) -> Any:
            data = source.fetch(index)
            if not data:
                raise InputError(f"item {index} of {self.name} has no image in it, only the path {self._path(index)!r}")
            if self.labels[index] == NO_CLASS:
                raise InputError(f"item {index} of {self.name} has no class")
            return decode_rgb(data, f"item {index} of {self.name}"), int(self.labels[index])

        return Part(self.name, len(self.labels), item, (source, self.labels))

    def _path(self, index: int) -> str | None:
        for file in self.files:
            rows = _read(Path(file), [self.column]).column(self.column)
            if index < len(rows):
                path: str | None = (rows[index].as_py() or {}).get("path")
                return path
            index -= len(rows)
        return None


def _is_image(kind: pa.DataType, feature: Mapping[str, Any]) -> bool:
    return (
        bool(pa.types.is_struct(kind))
        and kind.get_field_index("bytes") >= 0
        and feature.get("_type", "Image") == "Image"
    )


def _is_label(kind: pa.DataType, feature: Mapping[str, Any]) -> bool:
    return bool(pa.types.is_integer(kind))


def _column(
    wanted: str | None,
    key: str,
    schema: pa.Schema,
    features: Mapping[str, Mapping[str, Any]],
    fits: Callable[[pa.DataType, Mapping[str, Any]], bool],
    file: Path,
) -> str:
    """The column that the settings name, or the only one that fits, those of type ClassLabel first."""
    if wanted is not None and wanted not in schema.names:
        raise InputError(f"{key}: {file} has no column {wanted!r}{nearest(wanted, schema.names)}")
    fitting = [name for name in schema.names if fits(schema.field(name).type, features.get(name, {}))]
    if wanted is not None:
        if wanted not in fitting:
            raise InputError(f"{key}: the column {wanted!r} of {file} is of type {schema.field(wanted).type}")
        return wanted
    said = [name for name in fitting if features.get(name, {}).get("_type") == "ClassLabel"]
    chosen = said or fitting
    if len(chosen) != 1:
        has = f"several that may be it ({', '.join(chosen)})" if chosen else f"none among {', '.join(schema.names)}"
        raise InputError(f"{key}: {file} has {has}: name the column")
    return str(chosen[0])


def _features(schema: pa.Schema) -> dict[str, dict[str, Any]]:
    """Column -> what the library stored about it; empty where it stored nothing that can be read."""
    try:
        features = json.loads((schema.metadata or {}).get(FEATURES, b"{}"))["info"]["features"]
        return {str(name): feature for name, feature in features.items() if isinstance(feature, dict)}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _schema(file: Path) -> pa.Schema:
    with _told(file):
        if file.suffix == ".parquet":
            return pq.read_schema(file)
        with pa.memory_map(str(file)) as source:
            return pa.ipc.open_stream(source).schema


def _read(file: Path, columns: list[str]) -> pa.Table:
    with _told(file):
        if file.suffix == ".parquet":
            return pq.ParquetFile(file).read(columns=columns)
        with pa.memory_map(str(file)) as source:
            return pa.ipc.open_stream(source).read_all().select(columns)


@contextmanager
def _told(file: Path) -> Iterator[None]:
    """Inside the block, a file that cannot be read raises :class:`InputError` naming it."""
    try:
        yield
    except OSError as error:
        raise InputError(f"path: {file} cannot be read: {meaning(error)}") from None
    except (pa.ArrowException, KeyError) as error:
        raise InputError(f"path: {file} is damaged: {first_line(error)}") from None
