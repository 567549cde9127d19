"""A private Ray on this machine: on the loopback, in a private folder, with the user's niceness."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from raprune.errors import InputError

LOOPBACK = "127.0.0.1"
PREFIX = "rray-"
SOCKET_BYTES = 107
"""Longest path of a Unix socket."""
BELOW_BYTES = len(f"/{PREFIX}12345678/r/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store.10")
"""Length of the path that Ray and raprune append to the chosen folder."""
KEPT_S = 24 * 3600.0
"""Seconds for which the logs of a killed Ray are kept."""


class PrivateFolder:
    """This user's private folder (0700) for one Ray, locked while this process lives."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = _lock(path)

    def close(self, keep: bool = False) -> None:
        """Remove the folder, or ``keep`` its logs until a later run sweeps them."""
        if not keep:
            shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def start(num_cpus: int, store_bytes: int, dashboard: bool = False, **options: Any) -> PrivateFolder:
    """Start Ray on this machine; returns its private folder, to close once Ray has ended.

    Raises :class:`InputError` if Ray cannot be started.
    """
    import ray

    folder = private_folder()
    try:
        with _loopback_as_it_is():
            # "local": without it Ray would join whatever cluster runs on this machine
            ray.init(
                "local", num_cpus=num_cpus, include_dashboard=dashboard, object_store_memory=store_bytes,
                _temp_dir=str(folder.path / "r"), _node_ip_address=LOOPBACK, **options,
            )  # fmt: skip
    except BaseException as error:
        ray.shutdown()
        folder.close()
        if not isinstance(error, Exception):
            raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f"Ray cannot be started on this machine: {reason}: try again; or use --evaluators 0, which scores in "
            "process, or --address to join a running cluster"
        ) from error
    return folder


def private_folder() -> PrivateFolder:
    """A new folder whose path is short enough for Ray's sockets.

    It is in ``RAY_TMPDIR`` or ``TMPDIR``; where those are too long or not writable, in ``/tmp`` or ``/var/tmp``. Raises
    :class:`InputError` if none of them will do.
    """
    wanted = [os.environ.get("RAY_TMPDIR"), tempfile.gettempdir(), "/tmp", "/var/tmp"]
    for place in [Path(name).absolute() for name in wanted if name]:
        if len(os.fsencode(place)) + BELOW_BYTES <= SOCKET_BYTES:
            with contextlib.suppress(OSError):
                _sweep(place)
                # 0700; Ray makes what is in it readable by all
                return PrivateFolder(Path(tempfile.mkdtemp(prefix=PREFIX, dir=place)))
    named, most = ", ".join(dict.fromkeys(filter(None, wanted))), SOCKET_BYTES - BELOW_BYTES
    raise InputError(
        f"Ray's sockets need a writable folder with a path of at most {most} bytes; none of {named} "
        "qualifies: set RAY_TMPDIR to one that does, or use --evaluators 0"
    )


def _lock(folder: Path) -> int:
    """Take a lock that shows other processes that this one lives; returns its handle."""
    handle = os.open(folder / ".alive", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return handle


def _sweep(place: Path) -> None:
    """Remove this user's old folders that killed Rays left behind."""
    for folder in place.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            about = folder.lstat()
            if about.st_uid != os.getuid() or time.time() - about.st_mtime < KEPT_S:
                continue
            handle = os.open(folder / ".alive", os.O_RDWR)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(handle)


@contextlib.contextmanager
def _loopback_as_it_is() -> Iterator[None]:
    """Stop Ray from replacing the loopback with an externally reachable address inside the block."""
    from ray._private import services

    exchange = getattr(services, "resolve_ip_for_localhost", None)
    if exchange is None:
        yield
        return
    services.resolve_ip_for_localhost = lambda host: host
    try:
        yield
    finally:
        services.resolve_ip_for_localhost = exchange
