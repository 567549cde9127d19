"""A cluster that already runs: joined by address with its token, and left running."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.launch.runs import assert_same_rows
from tests.tiny import write_study
from tests.waiting import PATIENCE_S, until

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S):
        return True
    return False


@pytest.fixture
def head(tmp_path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """A real head node of two cores, in a process group of its own, with a token of its own."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    environment = plain | {"RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_AUTH_MODE": "token"}
    port = free_port()
    ray = Path(sys.executable).with_name("ray")
    command = [
        ray,
        "start",
        "--head",
        "--block",
        "--port",
        str(port),
        "--num-cpus",
        "2",
        "--include-dashboard",
        "false",
    ]
    process = subprocess.Popen(
        [str(part) for part in command], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    until(lambda: answers(port))
    yield f"127.0.0.1:{port}", environment
    os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=10)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def run(folder: Path, address: str | None, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    folder.mkdir(exist_ok=True)
    file = write_study(folder)
    command = [sys.executable, "-c", "from raprune.cli import main; main()", "study", str(file)]
    command += ["--out", str(folder / "out"), *(["--address", address] if address else ["--evaluators", "1"])]
    plain = {k: v for k, v in environment.items() if k != "RAY_AUTH_MODE"} | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, env=plain, capture_output=True, text=True, timeout=PATIENCE_S, check=False, cwd=folder
    )


def test_joins_by_address_and_leaves_the_cluster_running(
    head: tuple[str, dict[str, str]], reference: Path, tmp_path: Path
) -> None:
    address, environment = head
    done = run(tmp_path, address, environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_same_rows(reference, tmp_path / "out")
    assert answers(int(address.rpartition(":")[2]))
    alone = run(tmp_path / "alone", None, environment)  # without --address a study stays off that cluster
    assert alone.returncode == 0, alone.stdout + alone.stderr
    assert_same_rows(reference, tmp_path / "alone" / "out")


def test_no_cluster_is_said_in_a_sentence(tmp_path: Path) -> None:
    done = run(tmp_path, f"127.0.0.1:{free_port()}", dict(os.environ))
    assert done.returncode == 2
    assert "no Ray cluster can be joined" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
