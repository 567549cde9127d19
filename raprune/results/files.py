"""Single files: written whole or not at all; read with their path in every error; moved aside if damaged.

Imports neither torch nor ray.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import stat
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.parquet as pq

from raprune.errors import DamagedError, naming
from raprune.results.schemas import SCHEMAS
from raprune.results.sound import ONE_ROW, what_is_wrong
from raprune.system.store import removed
from raprune.system.writing import written

MAX_JSON_BYTES = 256 * 2**20
"""No file of ours comes near this size."""
MAX_BUFFERED_BYTES = 16 * 2**20
"""A smaller table is read in one piece."""
VERSION_KEY = b"raprune_schema_version"
Keys = Mapping[str, type | tuple[type, ...]]


def write_text(file: Path, text: str) -> None:
    """Write a text file whole or not at all; half characters, which no encoding has, are escaped."""
    with written(file) as aside:
        aside.write_bytes(text.encode("utf-8", errors="backslashreplace"))


def write_json(file: Path, data: Any) -> None:
    """Write a JSON file whole or not at all."""
    write_text(file, json.dumps(data, indent=2, allow_nan=False) + "\n")


def write_json_line(file: Path, data: Any) -> None:
    """Write a JSON file in one line whole or not at all: for long lists of numbers."""
    write_text(file, json.dumps(data, separators=(",", ":"), allow_nan=False) + "\n")


def read_text(file: Path, way_on: str = "") -> str:
    """The text of a regular file. Raises :class:`FileError` that names it, with the ``way_on``."""
    with naming(file, way_on):
        _check_regular(file, way_on)
        if file.stat().st_size > MAX_JSON_BYTES:
            raise _damaged(file, f"it is longer than {MAX_JSON_BYTES:,} bytes", way_on)
        return file.read_bytes().decode("utf-8")


def read_json(file: Path, keys: Keys, way_on: str = "") -> dict[str, Any]:
    """The mapping in a JSON file, with at least ``keys``, each of its type; numbers are finite.

    Raises :class:`FileError` where the file cannot be read, :class:`DamagedError` where it holds anything else.
    """
    found = _parse(file, way_on)
    if not isinstance(found, dict):
        raise _damaged(file, f"it must contain a mapping; it contains {_kind(found)}", way_on)
    for key, wanted in keys.items():
        if key not in found:
            raise _damaged(file, f"it has no {key}", way_on)
        if not isinstance(found[key], wanted) or (isinstance(found[key], bool) and not _takes_flags(wanted)):
            raise _damaged(file, f"{key} is {_kind(found[key])}", way_on)
    return found


def read_json_list(file: Path, of: type, way_on: str = "") -> list[Any]:
    """The list in a JSON file, all of whose items are of one type; errors as :func:`read_json`."""
    found = _parse(file, way_on)
    if not isinstance(found, list) or not all(isinstance(item, of) for item in found):
        raise _damaged(file, f"it must contain a list of {of.__name__}; it contains {_kind(found)}", way_on)
    return found


def _parse(file: Path, way_on: str) -> Any:
    text = read_text(file, way_on)
    try:
        return json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise _damaged(file, f"it cannot be read as JSON: {error}", way_on) from None


def read_table(file: Path, table: str, trial_id: str, columns: Sequence[str] | None = None) -> pa.Table:
    """One Parquet file of a trial, with the columns of ``table`` (or those named); those of a later schema are null.

    Of a table with many rows, only the named columns are read and checked. Raises :class:`FileError` where the file
    cannot be read, :class:`DamagedError` where it is not what raprune writes for this trial.
    """
    way_on = f"delete the folder {file.parent} and run its study again: the trial starts from the beginning"
    if table == "trial":
        way_on = "running its study again finishes the trial from its last committed layer"
    schema = SCHEMAS[table]
    if columns is not None and table not in ONE_ROW:
        schema = pa.schema([schema.field(name) for name in {"study": 0, "trial_id": 0, **dict.fromkeys(columns)}])
        schema = schema.with_metadata(SCHEMAS[table].metadata)
    with naming(file, way_on):
        _check_regular(file, way_on)
        found = _read_parquet(file, None if schema == SCHEMAS[table] else schema.names, way_on)
        present = found.column_names
        if (wrong := _wrong_columns(found, schema)) is not None:
            raise _damaged(file, wrong, way_on)
        found = _widen(found, schema)
        found.validate(full=True)
    if (wrong := what_is_wrong(found, table, trial_id, present)) is not None:
        raise _damaged(file, wrong, way_on)
    return found if columns is None else found.select(list(columns))


def _read_parquet(file: Path, columns: list[str] | None, way_on: str) -> pa.Table:
    """Read it opened, not by name: Arrow reads a colon in a path as an address, and ``x=1`` as a column.

    A file of ours is small, so threads would cost more than they save, and so would asking Python for its parts.
    """
    with file.open("rb") as opened:
        try:
            source = pa.BufferReader(opened.read()) if file.stat().st_size < MAX_BUFFERED_BYTES else opened
            parquet = pq.ParquetFile(source, page_checksum_verification=True)
            return parquet.read(columns, use_threads=False)
        except OSError as error:
            if error.errno is None:  # of Arrow, not of the file system
                raise _damaged(file, str(error).splitlines()[0], way_on) from None
            raise


def write_parquet(file: Path, found: pa.Table) -> None:
    """Write a table whole or not at all; checksums of its pages show later whether it was changed."""
    with written(file) as aside, aside.open("wb") as out:
        pq.write_table(found, out, write_page_checksum=True)


def set_aside(file: Path) -> Path:
    """Rename a damaged file, so that another can be written in its place; returns the new path."""
    names = (f"{file.name}.damaged{f'-{number}' if number > 1 else ''}" for number in itertools.count(1))
    place = next(place for name in names if not os.path.lexists(place := file.with_name(name)))
    with naming(file):
        os.rename(file, place)
    removed(file)
    return place


def _wrong_columns(found: pa.Table, schema: pa.Schema) -> str | None:
    """Which column a table has twice, or lacks; one of an older schema may lack some."""
    version = (found.schema.metadata or {}).get(VERSION_KEY)
    times = Counter(found.column_names)
    twice = next((name for name, number in times.items() if number > 1), None)
    if twice is not None:
        return f"it has column {twice} twice"
    lacking = [name for name in schema.names if name not in times]
    if not lacking or (version is not None and version != schema.metadata[VERSION_KEY] and "trial_id" not in lacking):
        return None
    return f"it has no column {lacking[0]}"


def _widen(found: pa.Table, schema: pa.Schema) -> pa.Table:
    """A table of an older schema with the columns it lacks as nulls."""
    own = dict(zip(found.column_names, found.columns, strict=True))
    columns = [
        pa.nulls(len(found), field.type)
        if (column := own.get(field.name)) is None
        else column
        if column.type == field.type
        else column.cast(field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def _check_regular(file: Path, way_on: str) -> None:
    """Raise where the file is not a regular one: a pipe could block, a device could be read for ever."""
    if file.is_symlink() and not file.exists():
        raise _damaged(file, f"it is a link to {os.readlink(file)}, where there is no file", way_on)
    mode = file.stat().st_mode
    if not stat.S_ISREG(mode):
        raise _damaged(file, f"it is {'a folder' if stat.S_ISDIR(mode) else 'a pipe or a device'}, not a file", way_on)


def _damaged(file: Path, why: str, way_on: str) -> DamagedError:
    return DamagedError(f"{file} is damaged: {why}" + (f"; {way_on}" if way_on else ""))


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"it contains {name}")


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"the number {text[:20]} is too large")
    return value


def _takes_flags(wanted: type | tuple[type, ...]) -> bool:
    return bool in (wanted if isinstance(wanted, tuple) else (wanted,))


def _kind(value: object) -> str:
    names = {dict: "a mapping", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
