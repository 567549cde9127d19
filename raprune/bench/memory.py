"""How much memory a network's runs hold, measured in a process of its own: ``python -m raprune.bench.memory REQUEST``.

On a CPU: the largest resident set while the network runs (after its first runs, so that loading and compiling do not
count), less the resident set before the network was loaded, when the libraries were: weights, activations, and what the
backend keeps, such as packed weights or compiled code. It is the kernel's own high-water mark (``VmHWM``), reset before
the runs; ``ru_maxrss`` would not do, because it continues from the process that started this one. glibc is set to
return freed memory at once (``RETURN_FREED``), else blocks that it keeps for later would count. On systems without
such a mark (other than Linux) the answer is null. On a GPU: ``torch.cuda.max_memory_allocated``, which does not see
what ONNX Runtime allocates there (null).
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from raprune.bench.backends import Prepared, Unavailable, prepare

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")
RESET_PEAK = "5"
"""Tells the kernel to reset the high-water mark."""
RUNS = 3
RETURN_FREED = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}
"""What glibc takes from the environment; both together also stop it from raising the first by itself."""


def peak_memory_bytes(backend: str, file: Path, shape: Sequence[int], device: str, threads: int) -> int | None:
    """Bytes that the runs of the network in ``file`` hold at most; ``None`` where the system does not tell.

    Raises :class:`Unavailable` where the backend fails, or the process does not survive.
    """
    request = {"backend": backend, "file": str(file), "shape": list(shape), "device": device, "threads": threads}
    command = [sys.executable, "-m", "raprune.bench.memory", json.dumps(request)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))} | RETURN_FREED
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    where = f"{backend} on {device}, batch {shape[0]}, is left out"
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        raise Unavailable(f"{where}: its process was ended by {name}, perhaps for lack of memory")
    if done.returncode > 0:
        last = (done.stderr.strip().splitlines() or ["without a message"])[-1]
        raise Unavailable(f"{where}: its process failed: {last}")
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    if answer["unavailable"] is not None:
        raise Unavailable(answer["unavailable"])
    found: int | None = answer["peak_memory_bytes"]
    return found


def main() -> None:
    """Answer one request, as JSON in the last line."""
    request: dict[str, Any] = json.loads(sys.argv[1])
    answer: dict[str, Any] = {"peak_memory_bytes": None, "unavailable": None}
    try:
        measure = _on_cpu if request["device"] == "cpu" else _on_gpu
        answer["peak_memory_bytes"] = measure(request)
    except Unavailable as error:
        answer["unavailable"] = str(error)
    print(json.dumps(answer))


def _on_cpu(request: dict[str, Any]) -> int | None:
    _import_libraries(request["backend"])
    before = _status_bytes("VmRSS")
    _warm(prepared := _prepare(request))
    if before is None or not _reset_peak():
        return None
    for _ in range(RUNS):
        prepared.run()
    peak = _status_bytes("VmHWM")
    return None if peak is None else max(0, peak - before)


def _on_gpu(request: dict[str, Any]) -> int | None:
    _warm(prepared := _prepare(request))
    if request["backend"] == "onnxruntime" or request["device"] != "cuda":
        return None
    import torch

    torch.cuda.reset_peak_memory_stats()
    for _ in range(RUNS):
        prepared.run()
    return int(torch.cuda.max_memory_allocated())


def _import_libraries(backend: str) -> None:
    """What the backend needs whatever the network."""
    importlib.import_module("onnxruntime" if backend == "onnxruntime" else "raprune.network.graph")
    if backend == "compiled":
        importlib.import_module("torch._inductor.compile_fx")


def _prepare(request: dict[str, Any]) -> Prepared:
    return prepare(
        request["backend"], Path(request["file"]), request["shape"], request["device"], request["threads"]
    )  # fmt: skip


def _warm(prepared: Prepared) -> None:
    for _ in range(RUNS):
        prepared.run()
    gc.collect()


def _status_bytes(key: str) -> int | None:
    """A line of the process's status, such as ``VmHWM:  12345 kB``."""
    lines = STATUS.read_text().splitlines() if STATUS.is_file() else []
    found = [line.split() for line in lines if line.startswith(f"{key}:")]
    return int(found[0][1]) * 1024 if found else None


def _reset_peak() -> bool:
    """Whether the system can forget the high-water mark."""
    try:
        CLEAR.write_text(RESET_PEAK)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main()
