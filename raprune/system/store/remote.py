"""The store itself: list, take, send and delete objects, through pyarrow's file systems.

S3, Google Cloud Storage and Azure show an object once it is complete. A file system with folders gets every file aside,
then renamed. Errors are :class:`StorageError` with a sentence that names the address.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from raprune.errors import RapruneError, StorageError, first_line, meaning
from raprune.system.quitting import STOP
from raprune.system.store.address import Address
from raprune.system.writing import aside_of, replacing

if TYPE_CHECKING:
    import pyarrow as pa

OBJECT_STORES = ("s3", "gcs", "abfs")
"""Arrow's names of file systems that put an object at once and have no folders."""
NUM_THREADS = 16
MAX_NAME_BYTES = 200
"""No file of ours comes near it; a file written aside needs some more."""
CHUNK_BYTES = 8 * 2**20
REQUEST_S = 20.0
"""Seconds without a byte after which a request has failed; Arrow tries it twice more."""
PATIENCE_S = 600.0
"""Seconds for which a store that is away is waited for, where somebody waits."""
LASTING_S = 30.0
"""The same for a refusal, which waiting seldom cures."""
STOPPING_S = 15.0
"""The same once a signal asked the process to stop."""
PAUSES_S = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
REFUSALS = {
    "NO_SUCH_BUCKET": "the bucket does not exist",
    "ACCESS_DENIED": "permission denied: these credentials may not do this",
    "SIGNATURE_DOES_NOT_MATCH": "the secret key is wrong",
    "INVALID_ACCESS_KEY_ID": "the access key is unknown there",
    "INVALID_SIGNATURE": "the secret key is wrong",
    "EXPIRED_TOKEN": "the credentials have expired",
    "UNRECOGNIZED_CLIENT": "the credentials are unknown there",
}
"""AWS's word -> what it means; waiting does not cure it."""

T = TypeVar("T")


class Stamp(NamedTuple):
    """What tells whether an object has changed."""

    size: int
    """Bytes."""
    second: int
    """When it was written, in whole seconds since 1970 by the store's clock."""


class Refused(StorageError):
    """The store answered, and will not do it: no such bucket, no right, wrong credentials."""


class Remote:
    """The objects below an address; names are relative to it, with ``/`` between their parts."""

    def __init__(self, address: Address) -> None:
        import pyarrow as pa
        from pyarrow import fs  # only now: most commands never need it

        self.address = address
        self._selector, self._folder, self._missing = fs.FileSelector, fs.FileType.Directory, fs.FileType.NotFound
        self._errors = (OSError, pa.ArrowException)
        try:
            self._fs, self._root = fs.FileSystem.from_uri(address.uri)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise Refused(f"{address} cannot be opened: {first_line(error)}") from None
        if self._fs.type_name == "s3":
            self._fs = _with_deadlines(self._fs)
        self._puts_at_once = self._fs.type_name in OBJECT_STORES

    def check(self) -> None:
        """Raise :class:`StorageError` where the store cannot be reached, or there is no such bucket."""
        if not self._puts_at_once:
            return
        bucket = self._root.strip("/").partition("/")[0]
        with self._naming("read"):
            kind = self._fs.get_file_info(bucket).type
        if kind == self._missing:
            raise Refused(f"{self.address}: the bucket {bucket} does not exist: create it first")

    def stamps(self, below: str = "") -> dict[str, Stamp]:
        """All objects below a folder; hidden ones, and names that no file can have, are left out."""
        selector = self._selector(self._path(below), allow_not_found=True, recursive=True)
        with self._naming("listed"):
            found = self._fs.get_file_info(selector)
        named = ((PurePosixPath(info.path).relative_to(self._root).as_posix(), info) for info in found)
        return {name: _stamp(info) for name, info in named if info.is_file and is_plain(name)}

    def folders(self) -> list[str]:
        """The names of the folders directly below the address."""
        selector = self._selector(self._root, allow_not_found=True)
        with self._naming("listed"):
            found = self._fs.get_file_info(selector)
        folders = (info.base_name for info in found if info.type == self._folder)
        return sorted(name for name in folders if is_plain(name))

    def hidden(self, folder: str) -> dict[str, Stamp]:
        """The objects directly in a hidden folder, which :meth:`stamps` leaves out, by their last names."""
        selector = self._selector(self._path(folder), allow_not_found=True)
        with self._naming("listed"):
            found = self._fs.get_file_info(selector)
        return {info.base_name: _stamp(info) for info in found if info.is_file}

    def stamps_of(self, names: list[str]) -> dict[str, Stamp]:
        """Those of ``names`` that exist."""
        with self._naming("read"):
            found = self._fs.get_file_info([self._path(name) for name in names])
        return {name: _stamp(info) for name, info in zip(names, found, strict=True) if info.is_file}

    def put(self, name: str, content: bytes | pa.Buffer) -> None:
        """Write an object whole."""
        path = self._path(name)
        with self._naming("written", name):
            if self._puts_at_once:
                self._write(path, content)
                return
            parent, _, last = path.rpartition("/")
            aside = f"{parent}/{aside_of(last)}"
            self._fs.create_dir(parent, recursive=True)
            self._write(aside, content)
            self._fs.move(aside, path)

    def _write(self, path: str, content: bytes | pa.Buffer) -> None:
        with self._fs.open_output_stream(path) as out:  # one call: whatever closes the stream finds all of it
            out.write(content)

    def get(self, name: str, max_bytes: int = 10_000) -> bytes:
        """How an object begins."""
        with self._naming("read", name), self._fs.open_input_stream(self._path(name)) as source:
            content: bytes = source.read(max_bytes)
        return content

    def take(self, name: str, stamp: Stamp, file: Path) -> Stamp | None:
        """Write an object, listed with this stamp, into a file of this machine, whole; ``None`` if it is gone."""
        with self._naming("read", name):
            for _ in range(3):
                with contextlib.suppress(_ChangedError):
                    self._copy(name, stamp, file)
                    return stamp
                now = self.stamps_of([name])
                if name not in now:
                    return None
                stamp = now[name]
            raise OSError("it changed while it was read")

    def _copy(self, name: str, stamp: Stamp, file: Path) -> None:
        """Copy an object; raises :class:`_ChangedError` where it is not the one that was listed."""
        with _in_mirror(file.parent, "made"):
            file.parent.mkdir(parents=True, exist_ok=True)
        with _in_mirror(file, "written"), replacing(file, durable=False) as aside:
            with aside.open("wb") as out:
                for chunk in self._chunks(name):
                    out.write(chunk)
            if aside.stat().st_size != stamp.size:
                raise _ChangedError
            os.utime(aside, (stamp.second, stamp.second))

    def _chunks(self, name: str) -> Iterator[bytes]:
        """An object's bytes, some at a time; raises :class:`_ChangedError` where it is gone."""
        with self._naming("read", name):
            try:
                with self._fs.open_input_stream(self._path(name)) as source:
                    while chunk := source.read(CHUNK_BYTES):
                        yield chunk
            except FileNotFoundError:
                raise _ChangedError from None

    def delete(self, name: str) -> None:
        """Delete an object, if it is there."""
        with self._naming("deleted", name), contextlib.suppress(FileNotFoundError):
            self._fs.delete_file(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    @contextlib.contextmanager
    def _naming(self, done: str, name: str = "") -> Iterator[None]:
        """Turn Arrow's errors into ours: ``s3://bucket/study/x cannot be written: permission denied ...``."""
        try:
            yield
        except RapruneError:
            raise
        except self._errors as error:
            place = self.address.below(name) if name else self.address
            text = str(error)
            word = next((word for word in REFUSALS if f"AWS Error {word} " in text), None)
            if word is not None:
                raise Refused(f"{place} cannot be {done}: {REFUSALS[word]}") from None
            away = re.search(r"curlCode: \d+, ([^;]+)", text)
            why = away[1].strip() if away else meaning(error) if isinstance(error, OSError) else first_line(error)
            kind = Refused if isinstance(error, PermissionError) else StorageError
            raise kind(f"{place} cannot be {done}: {why}") from None


@contextlib.contextmanager
def _in_mirror(place: Path, done: str) -> Iterator[None]:
    """Turn errors of this machine's disk into ours, lest the store be blamed and waited for."""
    try:
        yield
    except OSError as error:
        raise Refused(f"{place}, in a mirror of results, cannot be {done}: {meaning(error)}") from None


def is_plain(name: str) -> bool:
    """Whether a name can be a file of a mirror: relative, no part hidden, ``..`` or too long, no control characters."""
    parts = name.split("/")
    if any(len(os.fsencode(part)) > MAX_NAME_BYTES for part in parts):
        return False
    return all(part and not part.startswith(".") for part in parts) and not re.search("[\0-\x1f\x7f]", name)


def each(action: Callable[[str], T], names: Iterable[str]) -> list[T]:
    """Call ``action`` with every name, several at a time; raises the first error."""
    names = list(names)
    if len(names) < 2:
        return [action(name) for name in names]
    with ThreadPoolExecutor(min(NUM_THREADS, len(names))) as pool:
        try:
            return list(pool.map(action, names))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def patiently(action: Callable[[], T], tell: Callable[[str], Any] = lambda _: None) -> T:
    """What ``action`` returns, tried again while the store is away; raises its last error once patience ends."""
    began = time.monotonic()
    for number in range(10**6):
        try:
            return action()
        except StorageError as error:
            if time.monotonic() - began > patience_s(error):
                raise
            if number == 1:
                tell(f"{error}: trying again")
            time.sleep(PAUSES_S[min(number, len(PAUSES_S) - 1)])
    raise AssertionError


def patience_s(error: RapruneError) -> float:
    """How long a failure is waited for."""
    if STOP.asked:
        return STOPPING_S
    return LASTING_S if isinstance(error, Refused) else PATIENCE_S


def _with_deadlines(s3: Any) -> Any:
    """The same S3 file system whose requests end. An address cannot ask for that, and a server that hangs is waited for
    without end otherwise. Small files take one request instead of three."""
    rebuild, (options, *_) = s3.__reduce__()
    wanted = {"region": s3.region, "connect_timeout": REQUEST_S, "request_timeout": REQUEST_S,
              "background_writes": False, "allow_delayed_open": True}  # fmt: skip
    return rebuild(options | {name: value for name, value in wanted.items() if name in options})


def _stamp(info: Any) -> Stamp:
    return Stamp(info.size, (info.mtime_ns or 0) // 10**9)


class _ChangedError(Exception):
    """An object is not the one that was listed."""
