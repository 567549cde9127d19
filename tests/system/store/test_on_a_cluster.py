"""A study on a real cluster whose results are at a real S3 server: its nodes do not see the mirror of its driver."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from raprune.launch import run_study
from raprune.study import load_study
from raprune.system.store import given_out
from tests.launch.runs import Watch, assert_same_rows
from tests.launch.test_cluster import free_port
from tests.system.store.weed import BUCKET, FULL, Server, use
from tests.test_shape import ROOT
from tests.tiny import WHOLE, write_study

SMALL = ["sweep.drop_bound=[8.0]", "layers=[features.37, features.40]", "candidates_per_layer=10"]
HIDDEN = 'mount -t tmpfs none "$RAPRUNE_STORE_CACHE" && exec "$@"'
"""Run in a mount namespace, a process has a folder of its own where all others see another one."""


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """That of every process of the cluster, which is also a user of an S3 server."""
    if subprocess.run(["unshare", "-rm", "true"], check=False).returncode != 0:
        pytest.skip("needs mount namespaces (`unshare -rm`)")
    server = Server(tmp_path / "weed")
    try:
        server.files()
        use(server, FULL, tmp_path / "cache", monkeypatch)
        (tmp_path / "cache").mkdir()
        plain = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        token = {"RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0"}
        yield plain | token | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    finally:
        server.stop()


@pytest.fixture
def head(environment: dict[str, str], tmp_path: Path) -> Iterator[str]:
    """A head of two cores, in a process group of its own."""
    port = free_port()
    options = [f"--port={port}", "--num-cpus=2", "--include-dashboard=false", "--object-store-memory=80000000"]
    process = subprocess.Popen(
        [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", *options],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    status = [sys.executable, "-m", "ray.scripts.scripts", "status", f"--address=127.0.0.1:{port}"]
    try:
        for _ in range(20):
            if subprocess.run(status, env=environment, capture_output=True, timeout=60, check=False).returncode == 0:
                break
        yield f"127.0.0.1:{port}"
    finally:
        for how in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(process.pid, how)
                process.wait(timeout=10)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nodes_need_not_see_the_drivers_mirror(head: str, environment: dict[str, str], tmp_path: Path) -> None:
    """Trials write into mirrors of their own, which meet in the store."""
    file, url = write_study(tmp_path, WHOLE), f"s3://{BUCKET}/study"
    program = [sys.executable, "-c", "from raprune.cli import main; main()"]
    study = [*program, "study", str(file), "--out", url, "--address", head, "--evaluators", "1"]
    options = [part for one in SMALL for part in ("--set", one)]
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", HIDDEN, "sh", *study, *options],
        env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "checking 1 node" in done.stdout
    mirror = given_out(url)
    assert list((mirror / "trials").glob("*/trial.parquet"))  # what the nodes wrote
    assert not (mirror / "report").exists()
    assert run_study(load_study(file, SMALL), tmp_path / "alone", Watch(), num_evaluators=0).exit_code == 0
    assert_same_rows(tmp_path / "alone", url)  # type: ignore[arg-type]
