"""A local folder of Hugging Face: splits, columns, rows. Saved with ``save_to_disk``, or Parquet files of the hub.

Both hold encoded images in a struct column and describe their columns in the schema's metadata, so pyarrow reads them:
the library ``datasets`` is not needed, nothing is downloaded, and no loading script is ever run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from raprune.errors import InputError, first_line
from raprune.plugins.datasets.image_files import expand
from raprune.plugins.datasets.pixels import decode_rgb
from raprune.plugins.datasets.rows import Copied, InMemory, is_encoded, naming_rows, rows_of
from raprune.registry import nearest

WORDS = {
    "train": ("train", "training"),
    "val": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
"""Our split -> the words in names of files and folders by which Hugging Face recognises it."""
DICTIONARY, STATE = "dataset_dict.json", "state.json"
"""Files of ``DatasetDict.save_to_disk`` and ``Dataset.save_to_disk``."""
FEATURES = b"huggingface"
LISTS = ("Sequence", "List", "LargeList")
"""The library's types of lists, over time."""
BOX = "bbox"
"""The field with an object's box."""


def folder_problems(path: str) -> list[tuple[str, str]]:
    """What is wrong with the setting ``path``."""
    folder = expand(path)
    if not folder.is_dir():
        return [("path", f"no such folder: {str(folder)!r}; a data set of the hub must be downloaded first")]
    return []


REMEDY = "--set dataset.path=/path/to/folder  # hf download NAME --repo-type dataset --local-dir FOLDER"


def files_of(root: Path) -> dict[str, list[Path]]:
    """Split -> its files."""
    return _saved(root) or _of_hub(root)


def described(files: Sequence[Path]) -> tuple[list[pa.Schema], dict[str, Any]]:
    """The schema of each file, and what the library stored about the columns of the first one."""
    schemas = [_schema(file) for file in files]
    return schemas, features_of(schemas[0])


def check_alike(files: Sequence[Path], schemas: Sequence[pa.Schema], columns: Sequence[str]) -> None:
    """Refuse a file whose ``columns`` are of other types than those of the first file."""
    for file, schema in zip(files, schemas, strict=True):
        if any(name not in schema.names or schema.field(name).type != schemas[0].field(name).type for name in columns):
            raise InputError(f"path: {file} has columns of other types than {files[0]}")


@dataclass(frozen=True)
class Images:
    """The images of one split, still encoded."""

    name: str
    """For messages: ``the train split of beans``."""
    files: Sequence[str]
    column: str
    source: InMemory | Copied

    @classmethod
    def read(cls, name: str, files: Sequence[Path], column: str) -> Images:
        names = list(map(str, files))
        with told(files[0]):
            return cls(name, names, column, rows_of(names, column))

    def item(self, index: int) -> str:
        """What messages call a row."""
        return f"item {index} of {self.name}"

    def at(self, index: int) -> Image.Image:
        """An image in RGB, turned as EXIF says, as the library turns it."""
        data = self.source.fetch(index)
        if not data:
            raise InputError(f"{self.item(index)} has no image in it, only the path {self._path(index)!r}")
        return decode_rgb(data, self.item(index))

    def _path(self, index: int) -> str | None:
        for file in self.files:
            rows = read(Path(file), [self.column]).column(self.column)
            if index < len(rows):
                path: str | None = (rows[index].as_py() or {}).get("path")
                return path
            index -= len(rows)
        return None


def fields_of(kind: pa.DataType) -> dict[str, pa.DataType]:
    """Field -> type, of a column of objects: a struct of lists, or a list of structs; empty for another column."""
    if pa.types.is_struct(kind):
        return {field.name: getattr(field.type, "value_type", field.type) for field in kind}
    inner = getattr(kind, "value_type", None)
    return {field.name: field.type for field in inner} if inner is not None and pa.types.is_struct(inner) else {}


def objects_among(schema: pa.Schema) -> list[str]:
    """The columns of objects with boxes."""
    return [name for name in schema.names if BOX in fields_of(schema.field(name).type)]


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
    for file in parquet_below(root):
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


def parquet_below(root: Path) -> list[Path]:
    """The Parquet files in a folder and its subfolders, some of which may be named like one."""
    return sorted(file for file in root.rglob("*.parquet") if not file.is_dir())


def _split_of(name: str) -> str | None:
    """The split that a file's or folder's name tells: ``train-00000-of-00001``, ``validation``."""
    words = re.split(r"[^a-z]+", name.lower())
    return next((ours for ours, known in WORDS.items() if any(word in known for word in words)), None)


def is_image(kind: pa.DataType, feature: Mapping[str, Any]) -> bool:
    return is_encoded(kind) and feature.get("_type", "Image") == "Image"


def column_of(
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


def features_of(schema: pa.Schema) -> dict[str, dict[str, Any]]:
    """Column -> what the library stored about it; empty where it stored nothing that can be read."""
    try:
        features = json.loads((schema.metadata or {}).get(FEATURES, b"{}"))["info"]["features"]
        written = {str(name): _unlisted(feature) for name, feature in features.items()}
        return {name: feature for name, feature in written.items() if isinstance(feature, dict)}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def names_of(feature: Mapping[str, Any]) -> tuple[str, ...]:
    """The class names of a column or field; empty where the library stored none."""
    names = feature.get("names")
    return tuple(map(str, names)) if isinstance(names, list) else ()


def _unlisted(feature: Any) -> Any:
    """``{feature: X, _type: List}``, which earlier versions of the library wrote as ``[X]``."""
    return {"feature": feature[0], "_type": "List"} if isinstance(feature, list) and len(feature) == 1 else feature


def feature_of(feature: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    """What the library stored about a field of a column of objects."""
    for step in (None, field):
        feature = feature.get(step, {}) if step is not None else feature
        if isinstance(feature, Mapping) and feature.get("_type") in LISTS:
            feature = feature.get("feature", {})
        if not isinstance(feature, Mapping):
            return {}
    return feature


def _schema(file: Path) -> pa.Schema:
    with told(file):
        if file.suffix == ".parquet":
            schema = pq.read_schema(file)
        else:
            with pa.memory_map(str(file)) as source:
                schema = pa.ipc.open_stream(source).schema
    if len(set(schema.names)) < len(schema.names):
        raise InputError(f"path: {file} has two columns of one name among {', '.join(schema.names)}")
    return schema


def read(file: Path, columns: list[str]) -> pa.Table:
    with told(file):
        if file.suffix == ".parquet":
            return pq.ParquetFile(file).read(columns=columns)
        with pa.memory_map(str(file)) as source:
            return pa.ipc.open_stream(source).read_all().select(columns)


@contextmanager
def told(file: Path) -> Iterator[None]:
    """As :func:`naming_rows`, for a file of the setting ``path``."""
    with naming_rows(f"path: {file}"):
        try:
            yield
        except KeyError as error:
            raise InputError(f"path: {file} is damaged: {first_line(error)}") from None
