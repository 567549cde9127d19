"""Machines on one machine: a network namespace and a host name each, joined by a switch; needs root and ``ip``."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.chaos.victims import ROOT

NETWORK = "10.213.77"
PORT = 6379
STORE_BYTES = 150_000_000
NOT_NICER = {"RAY_worker_niceness": "0"}
"""Ray's workers give way to all other programs (nice 15): on a machine of their own there are none."""
STARTED = "Ray runtime started"
"""What `ray start` prints once its node is part of the cluster."""
STARTS_S = 180.0


def obstacle() -> str | None:
    """Why there can be no namespaces here; ``None`` where there can."""
    if os.name != "posix" or os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None or shutil.which("unshare") is None:
        return "network namespaces need the commands ip (iproute2) and unshare (util-linux)"
    name = f"chaos-{os.getpid()}-probe"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True).returncode:
        return "network namespaces are not allowed here"
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    return None


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


@dataclass
class Machine:
    """One of them."""

    name: str
    """Its host name, such as ``node2``."""
    namespace: str
    address: str
    environment: dict[str, str]
    log: Path
    """What Ray prints when it starts here."""
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, command: list[str], log: Path) -> subprocess.Popen[bytes]:
        """Start a program on it, which prints to ``log``."""
        with log.open("ab") as output:
            process = subprocess.Popen(
                self.command(command), env=self.environment, stdout=output, stderr=subprocess.STDOUT, cwd=ROOT,
                start_new_session=True,
            )  # fmt: skip
        self.started.append(process)
        return process

    def command(self, command: list[str]) -> list[str]:
        """``command``, run on it."""
        named = ["sh", "-c", 'hostname "$0" && exec "$@"', self.name, *command]
        return ["ip", "netns", "exec", self.namespace, "unshare", "--uts", *named]

    def processes(self, word: str) -> list[psutil.Process]:
        """Its processes with ``word`` in their command line."""
        found = []
        for pid in self._pids():
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(pid)
                if word in " ".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def _pids(self) -> list[int]:
        found = subprocess.run(["ip", "netns", "pids", self.namespace], capture_output=True, text=True, check=False)
        return [int(pid) for pid in found.stdout.split()]

    def lose(self) -> None:
        """Pull its plug: its network is cut first, so nobody is told, and connections to it stay open."""
        _ip("-n", self.namespace, "link", "set", "eth0", "down")
        self.stop()

    def stop(self) -> None:
        """Kill everything that runs on it."""
        for pid in self._pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in self.started:
            process.wait(30)


class Machines:
    """A Ray cluster whose nodes join and are lost; the first machine is its head, and where the study runs."""

    def __init__(self, scratch: Path, environment: dict[str, str], logs: Path) -> None:
        """``scratch``: Ray's folder, with a short path; ``environment``: of everything that is started."""
        self.scratch, self.logs = scratch, logs
        rays = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), **NOT_NICER}
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")} | environment | rays
        self.machines: list[Machine] = []
        self._switch = f"chaos-{os.getpid()}-switch"

    @property
    def head(self) -> Machine:
        return self.machines[0]

    @property
    def address(self) -> str:
        """Of the cluster."""
        return f"{self.head.address}:{PORT}"

    def open(self) -> None:
        """Make the switch."""
        _ip("netns", "add", self._switch)
        _ip("-n", self._switch, "link", "add", "switch", "type", "bridge")
        _ip("-n", self._switch, "link", "set", "switch", "up")

    def join(self, num_cpus: int) -> Machine:
        """Add a machine, which starts or joins the cluster."""
        number = len(self.machines) + 1
        namespace, address = f"chaos-{os.getpid()}-{number}", f"{NETWORK}.{number}"
        _ip("netns", "add", namespace)
        machine = Machine(f"node{number}", namespace, address, self.environment, self.logs / f"node{number}.log")
        self.machines.append(machine)
        _ip(
            "-n", namespace, "link", "add", "eth0", "type", "veth", "peer", "name", f"to{number}", "netns", self._switch
        )
        _ip("-n", self._switch, "link", "set", f"to{number}", "master", "switch", "up")
        _ip("-n", namespace, "addr", "add", f"{address}/24", "dev", "eth0")
        for link in ("lo", "eth0"):
            _ip("-n", namespace, "link", "set", link, "up")
        ray = str(Path(sys.executable).with_name("ray"))
        role = ["--address", self.address]
        if number == 1:
            role = ["--head", "--port", str(PORT), "--include-dashboard", "false", "--temp-dir", str(self.scratch)]
        size = ["--num-cpus", str(num_cpus), "--object-store-memory", str(STORE_BYTES), "--disable-usage-stats"]
        machine.start([ray, "start", "--block", "--node-ip-address", address, *role, *size], machine.log)
        self._wait_for(machine)
        return machine

    def _wait_for(self, machine: Machine) -> None:
        """Wait until a machine's Ray runs. Raises RuntimeError."""
        end = time.monotonic() + STARTS_S
        while STARTED not in (text := machine.log.read_text(errors="replace")):
            if time.monotonic() > end or machine.started[0].poll() is not None:
                raise RuntimeError(f"Ray does not start on {machine.name}:\n{text}")
            time.sleep(0.1)

    def close(self) -> None:
        """Stop all, and remove the namespaces."""
        for machine in reversed(self.machines):
            machine.stop()
            _ip("netns", "del", machine.namespace)
        with contextlib.suppress(subprocess.CalledProcessError):
            _ip("netns", "del", self._switch)


@contextlib.contextmanager
def machines(logs: Path, **environment: str) -> Iterator[Machines]:
    """A cluster without machines so far, which prints to files in ``logs``; all of it is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="ch-", dir="/tmp", ignore_cleanup_errors=True) as scratch:
        found = Machines(Path(scratch), environment, logs)
        try:
            found.open()
            yield found
        finally:
            found.close()
