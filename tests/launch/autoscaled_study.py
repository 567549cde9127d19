"""Run as a program: the tiny study on a cluster whose machines Ray's autoscaler starts and ends; prints JSON.

Ray's own ``AutoscalingCluster`` is not used: it ends every Ray process of the host. All that is started here belongs to
this program's process group, which whoever runs it ends.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

STORE = 80 * 2**20
MACHINES = 3
"""The autoscaler may start so many; each has one core."""
HEAD_ID = "fffffffffffffffffffffffffffffffffffffffffffffffffff00000"
"""The name that Ray's fake provider of machines gives the head."""
IDLE_S = 6.0
"""Seconds after which the autoscaler ends a machine that nobody uses."""
GENEROUS_S = 120.0


def main(folder: Path, port: int, version: str, head_cpus: int, ending: str, overrides: list[str]) -> None:
    """``ending``: of the study, which is ``killed`` while it has its machines, or ``completed``."""
    from raprune.launch.cluster import LOCAL, QUIET

    os.environ |= QUIET | LOCAL | {"RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_AUTH_MODE": "token"}
    address = f"127.0.0.1:{port}"
    start_head(folder, port, version, head_cpus)
    told = (kill if ending == "killed" else complete)(folder, address, overrides)
    import ray

    ray.init(address=address, log_to_driver=False, ignore_reinit_error=True)
    print(json.dumps({**told, "left": reached(0)}))
    ray.shutdown()


def complete(folder: Path, address: str, overrides: list[str]) -> dict[str, Any]:
    """Run the study to its end."""
    from raprune.launch import run_study
    from raprune.study import load_study

    seen = Seen(folder / "site-packages" / "hold")
    outcome = run_study(load_study(folder / "tiny.yaml", overrides), folder / "out", seen, address=address)
    return {"summary": outcome.summary(), "said": seen.said, "most": seen.most}


def kill(folder: Path, address: str, overrides: list[str]) -> dict[str, Any]:
    """Start the study in a process of its own, and kill it once it has all machines."""
    import ray

    options = [word for change in overrides for word in ("--set", change)]
    words = ["study", str(folder / "tiny.yaml"), "--out", str(folder / "out"), "--address", address, *options]
    command = [sys.executable, "-c", "from raprune.cli import main; main()", *words]
    study = subprocess.Popen(command, cwd=folder, stdout=sys.stderr)
    ray.init(address=address, log_to_driver=False)
    most = reached(MACHINES)
    study.kill()
    return {"most": most, "status": study.wait()}


def reached(number: int) -> int:
    """The number of machines that the autoscaler has started, once it is ``number`` or does not become so."""
    deadline = time.monotonic() + GENEROUS_S
    while (there := machines()) != number and time.monotonic() < deadline:
        time.sleep(0.5)
    return there


def start_head(folder: Path, port: int, version: str, cpus: int) -> None:
    """Start a head with an autoscaler, and wait until it answers."""
    file = folder / "cluster.json"
    file.write_text(json.dumps(configuration(port, version, cpus)))
    own = {"AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_FAKE_CLUSTER": "1"}
    if version == "v2":
        own |= {"RAY_enable_autoscaler_v2": "1"}
        own |= {"RAY_CLOUD_INSTANCE_ID": HEAD_ID, "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD_ID}
    command = [
        sys.executable, "-m", "ray.scripts.scripts", "start", "--head", f"--port={port}",
        f"--num-cpus={cpus}", f"--object-store-memory={STORE}", "--include-dashboard=false",
        f"--temp-dir=/tmp/ra-{port}", f"--autoscaling-config={file}",
    ]  # fmt: skip
    subprocess.run(command, env=os.environ | own, check=True, stdout=sys.stderr, timeout=GENEROUS_S)


def configuration(port: int, version: str, head_cpus: int) -> dict[str, Any]:
    """What Ray's command line reads: a provider that starts raylets on this machine."""
    from ray._private.services import get_node_ip_address

    provider = {
        "type": "external",  # Ray's own name for it needs a file that its wheel lacks
        "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
        "use_node_id_as_ip": True, "disable_node_updaters": True, "disable_launch_config_check": True,
        "gcs_address": f"{get_node_ip_address()}:{port}",
    }  # fmt: skip
    if version == "v2":
        provider |= {"launch_multiple": True, "head_node_id": HEAD_ID}
    of_worker = {"resources": {"CPU": 1, "object_store_memory": STORE}, "node_config": {}}
    return {
        "cluster_name": "tests",
        "max_workers": MACHINES,
        "provider": provider,
        "available_node_types": {
            "ray.head.default": {"resources": {"CPU": head_cpus}, "node_config": {}, "max_workers": 0},
            "worker": of_worker | {"min_workers": 0, "max_workers": MACHINES},
        },
        "head_node_type": "ray.head.default",
        "upscaling_speed": 1.0,
        "idle_timeout_minutes": IDLE_S / 60,
        "auth": {},
        "docker": {},
        "file_mounts": {},
        "cluster_synced_files": [],
        **{f"{what}_commands": [] for what in ("initialization", "setup", "head_setup", "worker_setup")},
        **{f"{what}_start_ray_commands": [] for what in ("head", "worker")},
    }


def machines() -> int:
    """Machines that the autoscaler started and that live."""
    import ray

    alive = [node for node in ray.nodes() if node["Alive"]]
    return len(alive) - 1


class Seen:
    """Watches the study; scoring is held while the file ``hold`` is there."""

    def __init__(self, hold: Path) -> None:
        self.hold = hold
        self.said: list[str] = []
        self.most = 0
        """Machines that the autoscaler had started at once."""

    def planned(self, plan: object) -> None: ...

    def note(self, text: str) -> None: ...

    def phase(self, text: str) -> None: ...

    def evaluators(self, text: str) -> None:
        self.said.append(text)
        print(f"{time.strftime('%X')} {text}", file=sys.stderr, flush=True)
        self.most = max(self.most, machines())
        if text.startswith("3 evaluators"):
            self.hold.unlink(missing_ok=True)

    def told(self, trial_id: str, progress: dict[str, Any]) -> None: ...

    def ended(self, trial_id: str, status: str, folder: Path) -> None: ...


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), sys.argv[5], sys.argv[6:])
