"""A Ray cluster: started here or joined, silenced, and checked for whether a study fits into it."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import secrets
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raprune.errors import InputError
from raprune.evaluators.backend import Node
from raprune.launch import local
from raprune.launch.nodes import own_code, packed
from raprune.launch.resources import check_cpus
from raprune.study.parts import EvaluatorsSpec
from raprune.system.memory import memory_bytes

QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".*",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_enable_worker_prestart": "0",
    "RAY_prestart_worker_first_driver": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
}
"""Set before ``import ray``: only our own output, no files that nobody reads, no idle workers."""
LOCAL = {"RAY_worker_niceness": "0"}
"""Keeps the niceness of the user's process; Ray's default of 15 starves its workers beside other programs."""


JOB_CONFIG = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Set by Ray in the processes that ``ray job submit`` starts."""


def usual_address() -> str | None:
    """The cluster that a study joins where its user names none: that of the Ray job it runs in, or none."""
    return "auto" if JOB_CONFIG in os.environ else None


@dataclass(frozen=True)
class Connection:
    """A cluster that this process is connected to."""

    joined_before: bool = False
    """The process had joined it before, so it is not ours to leave."""
    folder: local.PrivateFolder | None = None
    """The folder of a Ray that was started for this study."""
    import_path: tuple[str, ...] = ()
    """Folders of this machine from which workers import the study's own code; empty where Ray sends it."""

    @property
    def has_other_nodes(self) -> bool:
        """Whether other processes than this one started nodes of the cluster."""
        import ray

        node = ray._private.worker._global_node
        return self.folder is None and not (node is not None and node.is_head() and len(ray.nodes()) == 1)

    def close(self, *, keep_logs: bool = False) -> None:
        """Leave the cluster; stop it if it was started for this study."""
        import ray

        if self.joined_before:
            return
        ray.shutdown()
        if self.folder is not None:
            self.folder.close(keep=keep_logs)


def connect(
    address: str | None,
    namespace: str,
    spec: EvaluatorsSpec,
    count: int | str,
    threads: int,
    cpus: int | None = None,
    data_bytes: int = 0,
) -> Connection:
    """Start Ray on this machine (with ``cpus`` cores instead of its own), or join the cluster at ``address``.

    A Ray that is started here gets room for ``data_bytes`` of images. Raises :class:`InputError` before anything starts
    if the study cannot fit this machine, and where no cluster can be joined.
    """
    if address is not None and address.startswith("ray://"):
        raise InputError(
            "--address ray://... (Ray Client) is not for long studies: log in to the cluster and use --address auto, "
            "or `ray job submit -- raprune study ... --address auto`"
        )
    for key, value in (QUIET | (LOCAL if address is None else {})).items():
        os.environ.setdefault(key, value)
    _authenticate(local=address is None)
    import ray

    if ray.is_initialized():
        return Connection(joined_before=True, import_path=(os.getcwd(),))
    common: dict[str, Any] = {"namespace": namespace, "log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        cpus = cpus or _num_cores()
        if isinstance(count, int) and spec.device != "cuda" and not _maybe_gpus():
            check_cpus(count, threads, [Node("", "", {"CPU": float(cpus)})], "this machine")
        if spec.dashboard:
            _check_dashboard()
        folder = local.start(cpus, _store_bytes(data_bytes), spec.dashboard, **common)
        connection = Connection(folder=folder, import_path=(os.getcwd(),))
    else:
        _join(address, common)
        connection = Connection()
    for name in ("ray", "ray.tune", "ray.air"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return connection


def _check_dashboard() -> None:
    """Raise :class:`InputError` where Ray's dashboard is not installed; Ray itself would start without it."""
    if any(importlib.util.find_spec(name) is None for name in ("aiohttp", "prometheus_client", "opencensus")):
        raise InputError(
            "--dashboard (evaluators.dashboard) needs more of Ray than is installed: pip install 'raprune[cluster]' "
            "brings ray[default]"
        )


def _num_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _join(address: str, common: dict[str, Any]) -> None:
    import ray

    try:
        _check_reachable(address)
        with packed({} if _has_code() else own_code()) as code:
            ray.init(address=address, **common, **({"runtime_env": {"working_dir": str(code)}} if code else {}))
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        reason = _reason(error)
        raise InputError(
            f"no Ray cluster can be joined at {address!r}: {reason}\nStart one with `ray start --head`. A cluster with "
            "token authentication also needs its token here: in RAY_AUTH_TOKEN, in the file named by "
            "RAY_AUTH_TOKEN_PATH, or in ~/.ray/auth_token; every node needs the same."
        ) from None


def refuse_temporary(out: Path) -> None:
    """Raise :class:`InputError` if ``out`` is in the copy of the working folder that Ray makes for a job."""
    if _has_code() and out.resolve().is_relative_to(Path.cwd()):
        raise InputError(
            f"--out: {out} would be in Ray's copy of the working folder, which Ray removes: name a folder on storage "
            "that all nodes share, such as --out /shared/results/NAME"
        )


def _has_code() -> bool:
    """Whether this process is a Ray job whose code Ray has sent to the nodes (``ray job submit --working-dir``)."""
    config = json.loads(os.environ.get(JOB_CONFIG) or "{}")
    return bool((config.get("runtime_env") or {}).get("working_dir"))


def _reason(error: Exception) -> str:
    """What Ray says, as one line: the first, or all where it compares versions."""
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(lines) if lines[0].startswith("Version mismatch") else lines[0]


def _check_reachable(address: str) -> None:
    """Raise ConnectionError at once if nothing answers at the port; Ray itself tries for minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit():
        try:
            socket.create_connection((host, int(port)), timeout=10).close()
        except OSError as error:
            raise ConnectionError(f"nothing answers there ({error})") from None


def _authenticate(*, local: bool) -> None:
    """Set up the token that Ray 2.59 and later require; with an explicit address it is used only in token mode.

    Ray reads the mode when it is imported: if a program imported it before, a local Ray runs without a token.
    """
    if "RAY_AUTH_MODE" in os.environ or (local and "ray" in sys.modules):
        return
    if local and not _has_token():
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    if local or _has_token():
        os.environ["RAY_AUTH_MODE"] = "token"


def _has_token() -> bool:
    named = os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")
    return bool(named) or (Path.home() / ".ray" / "auth_token").is_file()


def _store_bytes(data_bytes: int) -> int:
    """Size of the object store: the data, plus a few states in flight (at most a tenth of the memory)."""
    return int(data_bytes + max(256 * 2**20, min(4 * 2**30, memory_bytes() // 10)))


def _maybe_gpus() -> bool:
    return any(Path("/dev").glob("nvidia[0-9]*")) and os.environ.get("CUDA_VISIBLE_DEVICES", "x") != ""
