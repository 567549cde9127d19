"""A Ray cluster, started here or joined, its silence, and whether a study fits into it."""

from __future__ import annotations

import logging
import math
import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raprune.errors import InputError
from raprune.study.parts import EvaluatorsSpec

TRIAL_CPUS = 0.05
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
"""Set before ``import ray``: no line that is not ours, no files nobody reads, no idle workers."""


@dataclass(frozen=True)
class Resources:
    """What the pool takes from the cluster."""

    num_evaluators: int
    device: str
    """``cuda`` or ``cpu``: what an evaluator computes on."""
    options: dict[str, Any]
    """Ray options of one evaluator."""


def connect(
    address: str | None,
    namespace: str,
    spec: EvaluatorsSpec,
    count: int | str,
    threads: int,
    cpus: int | None = None,
    data_bytes: int = 0,
) -> bool:
    """Start Ray on this machine (with ``cpus`` cores instead of its own), or join the cluster at ``address``.

    A Ray that is started here gets room for ``data_bytes`` of images.

    True where this process had joined one before: then it is not ours to end.
    A study that cannot fit this machine is refused before anything starts.
    """
    if address is not None and address.startswith("ray://"):
        raise InputError(
            "--address ray://... (Ray Client) is not for long studies: log in to the cluster and use --address auto, "
            "or `ray job submit -- raprune study ... --address auto`"
        )
    for key, value in QUIET.items():
        os.environ.setdefault(key, value)
    _authenticate(local=address is None)
    import ray

    if ray.is_initialized():
        return True
    common: dict[str, Any] = {"namespace": namespace, "log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        cpus = cpus or _num_cores()
        if isinstance(count, int) and spec.device != "cuda":
            _check_cpus(count, threads, float(cpus), "this machine", has_gpus=_maybe_gpus())
        # "local": without it Ray would join whatever cluster runs on this machine
        ray.init(
            "local", num_cpus=cpus, include_dashboard=False, object_store_memory=_store_bytes(data_bytes), **common
        )
    else:
        _join(address, common)
    for name in ("ray", "ray.tune", "ray.air"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return False


def _num_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _join(address: str, common: dict[str, Any]) -> None:
    import ray

    try:
        _check_reachable(address)
        ray.init(address=address, **common)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"no Ray cluster can be joined at {address!r}: {reason}\nStart one with `ray start --head`. A cluster with "
            "token authentication needs its token here too, in RAY_AUTH_TOKEN, in the file named by "
            "RAY_AUTH_TOKEN_PATH, or in ~/.ray/auth_token; every node needs the same."
        ) from None


def _check_reachable(address: str) -> None:
    """Ray itself tries for minutes; a port that nobody answers is said at once (ConnectionError)."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit():
        try:
            socket.create_connection((host, int(port)), timeout=10).close()
        except OSError as error:
            raise ConnectionError(f"nothing answers there ({error})") from None


def _authenticate(*, local: bool) -> None:
    """Ray 2.59 and later want a token; an explicit address finds it only in token mode. Ours is for this study."""
    if "RAY_AUTH_MODE" in os.environ:
        return
    if local and not _has_token():
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    if local or _has_token():
        os.environ["RAY_AUTH_MODE"] = "token"


def _has_token() -> bool:
    named = os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")
    return bool(named) or (Path.home() / ".ray" / "auth_token").is_file()


def _store_bytes(data_bytes: int) -> int:
    """Object store: the data, and a few states in flight, for which at most a tenth of the memory."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return int(data_bytes + max(256 * 2**20, min(4 * 2**30, total // 10)))


def _maybe_gpus() -> bool:
    return any(Path("/dev").glob("nvidia[0-9]*")) and os.environ.get("CUDA_VISIBLE_DEVICES", "x") != ""


def evaluator_cpus(threads: int) -> float:
    """Cores one evaluator on a processor holds: a little less than its threads, so that the trials fit beside it."""
    return threads - 0.1


def _check_cpus(count: int, threads: int, cpus: float, where: str, *, has_gpus: bool) -> None:
    need = count * evaluator_cpus(threads) + TRIAL_CPUS
    if not has_gpus and need > cpus:
        most = max(0, math.floor((cpus - TRIAL_CPUS) / evaluator_cpus(threads)))
        raise InputError(
            f"{count} evaluators of {threads} thread{'s' if threads > 1 else ''} and one trial need {need:g} cores; "
            f"{where} has {cpus:g}: use --evaluators {most} (0 scores in process), or leave it out"
        )


def resources_for(available: Mapping[str, float], spec: EvaluatorsSpec, count: int | str, threads: int) -> Resources:
    """What the pool takes. A study that does not fit raises :class:`InputError`: it would wait for ever."""
    gpus, cpus = available.get("GPU", 0.0), available.get("CPU", 0.0)
    if spec.device == "cuda" and gpus == 0:
        raise InputError("evaluators.device is cuda, but the cluster has no GPU")
    if gpus > 0 and spec.device in ("auto", "cuda"):
        most = math.floor(gpus / spec.gpu_share + 1e-9)
        number = most if count == "auto" else int(count)
        if number > most:
            raise InputError(
                f"{number} evaluators of {spec.gpu_share:g} GPU each need {number * spec.gpu_share:g} GPUs; the "
                f"cluster has {gpus:g}: use --evaluators {most}, or a smaller evaluators.gpu_share"
            )
        if cpus < TRIAL_CPUS:
            raise InputError("the cluster has no processor core for the trials")
        return Resources(number, "cuda", {"num_gpus": spec.gpu_share, "num_cpus": 0})
    most = math.floor((cpus - TRIAL_CPUS) / evaluator_cpus(threads))
    number = max(1, min(most, int(cpus) // threads)) if count == "auto" else int(count)
    _check_cpus(number, threads, cpus, "the cluster", has_gpus=False)
    return Resources(number, "cpu", {"num_gpus": 0, "num_cpus": evaluator_cpus(threads)})
