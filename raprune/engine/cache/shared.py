"""Prefixes in memory that the evaluators of a host share: one computes a batch, the others map it, read-only.

One folder per study and host, in shared memory if there is room. The kernel holds the locks (``flock``), so nobody
waits for a process that died; a folder without living evaluators is removed by the next study that starts.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from raprune.engine.cache.crossing_file import map_values, write_values
from raprune.engine.split import Crossing
from raprune.system.writing import replacing

SHARED_MEMORY = Path("/dev/shm")
RESERVE = 256 * 2**20
"""Bytes of memory, and of the file system, that always stay free."""
ALIVE, ROOM = ".alive", ".room"


class HostStore:
    """At most ``capacity`` bytes for all evaluators of a study on this host; the least recently used key goes first.

    Of a key that does not fit as a whole, the first batches are kept. Files that another process removed stay mapped
    here until the next batch that is not found.
    """

    def __init__(self, namespace: str, capacity: int, root: Path | None = None) -> None:
        self.capacity = capacity
        for place in {root} if root else set(_roots()):
            sweep(place, but=_name(namespace))
        self.folder = (root or _choose_root(namespace, capacity)) / _name(namespace)
        self._alive = _enter(self.folder)
        self._mapped: dict[str, Crossing] = {}
        self._not_kept: set[str] = set()

    @property
    def num_bytes(self) -> int:
        """Bytes kept on this host."""
        return sum(stat.st_size for _, stat in _files(self.folder))

    def batch(self, key: str, index: int, compute: Callable[[], Crossing]) -> Crossing:
        """As :class:`raprune.engine.cache.prefix.Store` says; waits for a process that computes the same batch."""
        file = self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}-{index}"
        if (values := self._find(file)) is not None:
            return values
        self._drop_removed()
        if not self.folder.is_dir():  # removed from outside: nothing is kept any more
            return compute()
        if file.name not in self._not_kept:  # else every process would wait, then compute it anyway
            lock = file.with_suffix(".lock")
            with _opened(lock) as handle:
                waited = not _try_lock(handle)
                if waited:
                    fcntl.flock(handle, fcntl.LOCK_EX)
                if (values := self._find(file)) is not None:
                    return values
                if not waited:
                    values = self._compute(file, compute)
                    lock.unlink(missing_ok=True)
                    return values
        return self._compute(file, compute)

    def close(self) -> None:
        """Release everything; the last evaluator of the study removes its folder."""
        self._mapped.clear()
        os.close(self._alive)
        _remove_if_dead(self.folder)

    def _find(self, file: Path) -> Crossing | None:
        try:
            os.utime(file, ns=(now := time.time_ns(), now))
            if file.name not in self._mapped:
                self._mapped[file.name] = map_values(file)
        except FileNotFoundError:
            self._mapped.pop(file.name, None)
            return None
        return self._mapped[file.name]

    def _drop_removed(self) -> None:
        for name in [name for name in self._mapped if not (self.folder / name).exists()]:
            del self._mapped[name]

    def _compute(self, file: Path, compute: Callable[[], Crossing]) -> Crossing:
        values = compute()
        if not self._keep(file, values):
            self._not_kept.add(file.name)
            return values
        self._not_kept.discard(file.name)
        return self._find(file) or values

    def _keep(self, file: Path, values: Crossing) -> bool:
        """Write to a temporary file, then rename it; returns whether there was room and the folder still existed."""
        try:
            with _opened(self.folder / ROOM) as handle:
                fcntl.flock(handle, fcntl.LOCK_EX)
                with replacing(file, file.with_suffix(".aside"), durable=False) as aside, aside.open("wb") as out:
                    write_values(out, values, lambda size: self._make_room(file, size))
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.ENOENT):
                raise
            return False
        return True

    def _make_room(self, file: Path, size: int) -> None:
        """Remove the least recently used other keys until ``size`` bytes fit. Raises ENOSPC if they cannot."""
        sizes: dict[str, int] = {}
        used: dict[str, int] = {}
        for name, stat in _files(self.folder):
            key = name.partition("-")[0]
            sizes[key] = sizes.get(key, 0) + stat.st_size
            used[key] = max(used.get(key, 0), stat.st_mtime_ns)
        own = file.name.partition("-")[0]
        others = sorted((key for key in sizes if key != own and not key.startswith(".")), key=used.__getitem__)
        if sizes.get(own, 0) + size > self.capacity:
            raise OSError(errno.ENOSPC, "more than the cache holds")
        while sum(sizes.values()) + size > self.capacity or size + RESERVE > free_bytes(self.folder):
            if not others:
                raise OSError(errno.ENOSPC, "no memory is left for the cache")
            oldest = others.pop(0)
            for old in self.folder.glob(f"{oldest}-*"):
                old.unlink(missing_ok=True)
            del sizes[oldest]


def sweep(root: Path, but: str = "") -> None:
    """Remove this user's folders in ``root`` that have no living evaluator, except the one named ``but``."""
    for folder in root.glob(f"{_name('')}*"):
        if folder.name != but and folder.is_dir() and folder.stat().st_uid == os.getuid():
            _remove_if_dead(folder)


def remove_folder(namespace: str, wait_s: float) -> None:
    """Remove a study's folder on this host once its evaluators are dead; waits at most ``wait_s`` seconds for that."""
    folders = [root / _name(namespace) for root in _roots()]
    end = time.monotonic() + wait_s
    while any([folder.is_dir() and not _remove_if_dead(folder) for folder in folders]) and time.monotonic() < end:
        time.sleep(0.02)


def free_bytes(folder: Path) -> int:
    """Bytes that can be written to ``folder``; in shared memory, at most the available memory."""
    free = shutil.disk_usage(folder).free
    memory = Path("/proc/meminfo")
    if folder.is_relative_to(SHARED_MEMORY) and memory.is_file():
        lines = dict(line.split(":", 1) for line in memory.read_text().splitlines())
        free = min(free, int(lines["MemAvailable"].split()[0]) * 1024)
    return free


def _files(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Names and stats of the files in ``folder``; another process may remove any of them meanwhile."""
    for entry in os.scandir(folder):
        with contextlib.suppress(FileNotFoundError):
            yield entry.name, entry.stat()


def _name(namespace: str) -> str:
    return f"raprune-{os.getuid()}-{namespace}"


def _roots() -> list[Path]:
    """Where the folders may be, the best place first."""
    return [SHARED_MEMORY] * os.access(SHARED_MEMORY, os.W_OK) + [Path(tempfile.gettempdir())]


def _choose_root(namespace: str, capacity: int) -> Path:
    """The place where the study's folder already is; otherwise the first place with enough room."""
    roots = _roots()
    there = [root for root in roots if (root / _name(namespace)).is_dir()]
    room = [root for root in roots if free_bytes(root) >= capacity + RESERVE]
    return [*there, *room, roots[0]][0]


def _enter(folder: Path) -> int:
    """Create ``folder`` and take a shared lock in it, which sweeping processes respect; returns the lock's handle."""
    while True:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_uid != os.getuid():
            raise PermissionError(f"{folder} belongs to another user")
        with contextlib.suppress(FileNotFoundError):  # swept at this moment: try again
            handle = os.open(folder / ALIVE, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(handle, fcntl.LOCK_SH)
            if os.fstat(handle).st_nlink:
                return handle
            os.close(handle)


def _remove_if_dead(folder: Path) -> bool:
    try:
        with _opened(folder / ALIVE) as handle:
            if not _try_lock(handle):
                return False
            shutil.rmtree(folder, ignore_errors=True)
    except FileNotFoundError:
        pass
    return True


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[int]:
    handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield handle
    finally:
        os.close(handle)


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
