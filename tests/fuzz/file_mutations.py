"""A finished study's folder with one file torn, rotten, swapped, or from a hostile author."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

HOSTILE: list[Any] = [
    "<script>alert(1)</script>", "\x1b[31mred\x1b[0m", "[/bold]", "日本語 пример", "a" * 5000, "../../etc/passwd",
    "\u202egnp.exe", "'; drop table", "$HOME", "", "null", "{}", "[[[", "\0", "completed", "failed", "stopped",
]  # fmt: skip
NUMBERS: list[Any] = [0, -1, 1, 2**62, -(2**62), 1e308, -1e-308, float("nan"), float("inf"), 0.5]
JSON_VALUES: list[Any] = [None, [], {}, "text", 0, -1, 1e300, True, [[]], {"a": {}}, [1, 2, 3], [None], 2**80]
Mutation = Callable[[Path, Path, random.Random], str]


def mutate(folder: Path, seed: int) -> tuple[Path, str]:
    """Change one file of the study in ``folder``; the file, and what was done to it."""
    rng = random.Random(seed)
    kinds = ["*.parquet", "*.json", "*.safetensors", "*.jsonl", "*"]
    files: list[Path] = []
    while not files:
        kind = rng.choice(kinds)
        files = sorted(file for file in folder.rglob(kind) if file.is_file() and "report" not in file.parts)
    file = rng.choice(files)
    own = {".parquet": [_cell, _cell, _columns, _rows], ".json": [_json, _json, _json, _json_text]}
    change = rng.choice([*own.get(file.suffix, []), *GENERAL])
    return file, change(folder, file, rng)


def _truncated(folder: Path, file: Path, rng: random.Random) -> str:
    size = file.stat().st_size
    to = rng.choice([0, 1, size // 2, max(0, size - 1), rng.randint(0, size)])
    os.truncate(file, to)
    return f"cut to {to} of {size} bytes"


def _flipped(folder: Path, file: Path, rng: random.Random) -> str:
    raw = bytearray(file.read_bytes())
    places = [rng.randrange(len(raw)) for _ in range(rng.choice([1, 1, 4, 40]))] if raw else []
    for place in places:
        raw[place] ^= 1 << rng.randrange(8)
    file.write_bytes(raw)
    return f"bits flipped at {places}"


def _garbage(folder: Path, file: Path, rng: random.Random) -> str:
    raw = rng.choice([rng.randbytes(300), b"\xff\xfe\0\0", b"PK\x03\x04", b"PAR1" + b"\0" * 20 + b"PAR1", b"{" * 50_000,
                      b"[" * 200_000, b"9" * 10_000, b"\x80\x04\x95", b"\xff" * 64])  # fmt: skip
    file.write_bytes(raw)
    return f"replaced by {raw[:10]!r}..."


def _folder(folder: Path, file: Path, rng: random.Random) -> str:
    file.unlink()
    file.mkdir()
    return "a folder in its place"


def _pipe(folder: Path, file: Path, rng: random.Random) -> str:
    file.unlink()
    os.mkfifo(file)
    return "a pipe in its place"


def _loop(folder: Path, file: Path, rng: random.Random) -> str:
    file.unlink()
    file.symlink_to(file.name)
    return "a link to itself"


def _gone(folder: Path, file: Path, rng: random.Random) -> str:
    file.unlink()
    return "removed"


def _swapped(folder: Path, file: Path, rng: random.Random) -> str:
    others = sorted(other for other in folder.rglob(f"*{file.suffix}") if other.is_file() and other != file)
    if not others:
        return _gone(folder, file, rng)
    other = rng.choice(others)
    shutil.copyfile(other, file)
    return f"replaced by {other.relative_to(folder)}"


GENERAL: list[Mutation] = [_truncated, _truncated, _flipped, _flipped, _garbage, _folder, _pipe, _loop, _gone, _swapped]


def _cell(folder: Path, file: Path, rng: random.Random) -> str:
    """One value of a table, of the column's type."""
    table = pq.ParquetFile(file).read()
    if not len(table):
        return _gone(folder, file, rng)
    field = table.schema.field(rng.randrange(table.num_columns))
    value = None if rng.random() < 0.3 else rng.choice(HOSTILE if pa.types.is_string(field.type) else NUMBERS)
    values = table.column(field.name).to_pylist()
    values[rng.randrange(len(values))] = value
    try:
        column = pa.array(values, field.type)
    except (pa.ArrowException, TypeError, OverflowError, ValueError):
        column = pa.array([None] * len(values), field.type)
    pq.write_table(table.set_column(table.schema.get_field_index(field.name), field, column), file)
    return f"{field.name} is {value!r:.60}"


def _columns(folder: Path, file: Path, rng: random.Random) -> str:
    """A column gone, of another type, twice, or new."""
    table = pq.ParquetFile(file).read()
    name = rng.choice(table.column_names)
    what = rng.randrange(4)
    if what == 0:
        table = table.drop_columns([name])
    elif what == 1:
        kind = rng.choice([pa.string(), pa.int8(), pa.list_(pa.int64())])
        column = pa.array([str(i) if kind == pa.string() else None for i in range(len(table))], kind)
        table = table.set_column(table.column_names.index(name), name, column)
    elif what == 2:
        table = pa.table([*table.columns, table[name]], names=[*table.column_names, name])
    else:
        table = table.append_column("surprise", pa.array(["x"] * len(table)))
    pq.write_table(table, file)
    return f"column {name} {['gone', 'of another type', 'twice', 'with a new one'][what]}"


def _rows(folder: Path, file: Path, rng: random.Random) -> str:
    table = pq.ParquetFile(file).read()
    doubled = rng.random() < 0.5
    pq.write_table(pa.concat_tables([table, table]) if doubled else table.slice(0, 0), file)
    return "rows twice" if doubled else "no rows"


def _json(folder: Path, file: Path, rng: random.Random) -> str:
    """One value, at any depth, is another; or a key goes."""
    found = json.loads(file.read_text())
    places = list(_places(found))
    if not places:
        return _gone(folder, file, rng)
    inside, key = rng.choice(places)
    value = rng.choice([*JSON_VALUES, *HOSTILE, "gone"])
    if value == "gone":
        del inside[key]
    else:
        inside[key] = value
    file.write_text(json.dumps(found))
    return f"{key!r:.40} is {value!r:.60}"


def _json_text(folder: Path, file: Path, rng: random.Random) -> str:
    text = rng.choice([json.dumps(value) for value in JSON_VALUES] + ["NaN", "{'a': 1}", '{"a": Infinity}', "\ufeff{}"])
    file.write_text(text)
    return f"holds {text:.40}"


def _places(found: Any) -> list[tuple[Any, Any]]:
    keys = list(found) if isinstance(found, dict) else range(len(found)) if isinstance(found, list) else []
    own = [(found, key) for key in list(keys)[:40]]
    return own + [place for inside, key in own for place in _places(inside[key])]
