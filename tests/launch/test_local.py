"""A Ray of our own: on the loopback, in a private folder with a short name, as nice as its user."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import psutil
import pytest

from raprune.errors import InputError
from raprune.launch import local


def test_it_listens_on_the_loopback_alone(ray_cluster: None) -> None:
    import ray

    @ray.remote(num_cpus=0)
    def of_a_worker() -> tuple[int, int]:
        return os.getpid(), os.nice(0)

    worker, niceness = ray.get(of_a_worker.remote())
    assert niceness == os.nice(0)
    heard = set()
    for process in (psutil.Process(), *psutil.Process().children(recursive=True), psutil.Process(worker)):
        try:
            sockets = process.net_connections("inet")
        except psutil.Error:
            continue
        heard |= {socket.laddr.ip.removeprefix("::ffff:") for socket in sockets if socket.status == psutil.CONN_LISTEN}
    assert heard == {"127.0.0.1"}


def test_nobody_else_enters_its_folder(ray_cluster: None) -> None:
    import ray

    session = Path(ray._private.worker._global_node.get_session_dir_path())
    private = session.parents[1]
    assert private.name.startswith(local.PREFIX)
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert private.stat().st_uid == os.getuid()
    longest = max((len(os.fsencode(path)) for path in (session / "sockets").iterdir()), default=0)
    assert 0 < longest <= local.SOCKET_BYTES


def test_a_long_folder_for_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * 90)
    long.mkdir()
    monkeypatch.setenv("RAY_TMPDIR", str(long))
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    private = local.private_folder()
    folder = private.path
    try:
        assert len(os.fsencode(folder.parent)) + local.BELOW_BYTES <= local.SOCKET_BYTES
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    finally:
        private.close()
    assert not folder.exists()
    monkeypatch.setattr(local, "SOCKET_BYTES", local.BELOW_BYTES)
    with pytest.raises(InputError, match="set RAY_TMPDIR to one that does, or use --evaluators 0"):
        local.private_folder()


def test_folders_of_rays_that_were_killed_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, days in (("old", 2), ("new", 0), ("lives", 2)):
        folder = tmp_path / f"{local.PREFIX}{name}"
        folder.mkdir()
        (folder / ".alive").touch()
        if name == "lives":
            lives = local.PrivateFolder(folder)
        before = folder.stat().st_mtime - days * 86_400
        os.utime(folder, (before, before))
    local._sweep(tmp_path)
    left = {folder.name.removeprefix(local.PREFIX) for folder in tmp_path.iterdir()}
    assert left == {"new", "lives"}
    lives.close(keep=True)  # as for the logs of a Ray that was lost
    os.utime(lives.path, (before, before))
    local._sweep(tmp_path)
    assert not lives.path.exists()
