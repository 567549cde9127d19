"""Every device, backend and batch size in turn: baseline and pruned network side by side, to rows."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from raprune.artefact.trials import NETWORKS, TrialNetworks
from raprune.bench.backends import BACKENDS, Array, Prepared, Unavailable, images, prepare, store, version
from raprune.bench.memory import peak_memory_bytes
from raprune.bench.timing import Times, in_turn
from raprune.engine import device_name

TOLERANCE = 1e-2
"""Allowed difference of a backend's output, as a share of the largest output; it allows for TF32 on GPUs."""


@dataclass(frozen=True)
class BenchSettings:
    """What is measured."""

    threads: int = 1
    runs: int = 50
    batch_sizes: tuple[int, ...] = (1, 64)
    backends: tuple[str, ...] = BACKENDS


@dataclass(frozen=True)
class Cell:
    """Both networks on one device, backend and batch size."""

    device: str
    """``cpu``, or the name of the GPU."""
    backend: str
    batch_size: int
    times: Mapping[str, Times]
    """Network -> seconds of its runs."""
    memory: Mapping[str, int | None]
    """Network -> bytes that its runs held at most."""

    @property
    def ratio(self) -> float:
        """Old / new, of the medians."""
        return self.times["baseline"].median / self.times["pruned"].median

    @property
    def time_saved(self) -> float:
        """Share of the baseline's time that is saved; negative where the pruned network is slower."""
        return 1 - 1 / self.ratio


@dataclass
class Measured:
    """What could be measured, and a sentence for each thing that could not."""

    cells: list[Cell] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def rows(self, trial: TrialNetworks, settings: BenchSettings) -> list[dict[str, Any]]:
        """Rows of ``speed``."""
        return [_row(cell, network, trial, settings) for cell in self.cells for network in NETWORKS]


def devices() -> list[str]:
    """The processor, and the GPU that torch sees."""
    gpus = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return ["cpu", *(name for name, there in gpus.items() if there)]


def measure(trial: TrialNetworks, settings: BenchSettings, tell: Callable[[str], None] = lambda _: None) -> Measured:
    """Measure what ``settings`` asks for, as far as it is available; ``tell`` receives what is being measured."""
    measured = Measured()
    with tempfile.TemporaryDirectory(prefix="raprune-bench-") as folder:
        for device in devices():
            for backend in settings.backends:
                for batch_size in settings.batch_sizes:
                    tell(f"{backend} on {device_name(torch.device(device))}, batch {batch_size}")
                    try:
                        measured.cells.append(_cell(trial, settings, device, backend, batch_size, Path(folder)))
                    except Unavailable as error:
                        measured.notes += [str(error)] if str(error) not in measured.notes else []
    return measured


def _cell(
    trial: TrialNetworks, settings: BenchSettings, device: str, backend: str, batch_size: int, folder: Path
) -> Cell:
    """One cell.

    The processes that measure memory come first, for they may be ended without harm to this one; but once this one has
    compiled, they find on disk what it compiled, and so hold only what runs.
    """
    shape = (batch_size, *trial.input_shape)
    files = {name: folder / f"{name}-{backend}-{batch_size}" for name in NETWORKS}
    for name, file in files.items():
        store(backend, trial.networks[name], shape, file)
    memory: dict[str, int | None] = {}
    prepared: dict[str, Prepared] = {}

    def weigh() -> None:
        for name, file in files.items():
            memory[name] = peak_memory_bytes(backend, file, shape, device, settings.threads)

    def load() -> None:
        for name, file in files.items():
            prepared[name] = prepare(backend, file, shape, device, settings.threads)

    for step in (load, weigh) if backend == "compiled" else (weigh, load):
        step()
    for name, network in trial.networks.items():
        _check(network, prepared[name].output(), shape, f"{backend} on {device}, batch {batch_size}")
    times = in_turn([prepared[name].run for name in NETWORKS], settings.runs)
    torch.compiler.reset()
    return Cell(device_name(torch.device(device)), backend, batch_size, dict(zip(NETWORKS, times, strict=True)), memory)


@torch.inference_mode()
def _check(network: torch.nn.Module, found: Array, shape: tuple[int, ...], where: str) -> None:
    """Refuse a backend whose output differs from the network's: a fast wrong answer must not be timed."""
    expected = network(torch.from_numpy(images(shape))).numpy()
    if found.shape != expected.shape or np.abs(found - expected).max() > TOLERANCE * np.abs(expected).max():
        raise Unavailable(f"{where}, is left out: its output differs from the network's")


def _row(cell: Cell, network: str, trial: TrialNetworks, settings: BenchSettings) -> dict[str, Any]:
    times = cell.times[network]
    low, median, high = times.quartiles
    return {
        "device": cell.device,
        "backend": cell.backend,
        "batch_size": cell.batch_size,
        "network": network,
        "macs": trial.macs[network],
        "threads": settings.threads,
        "num_runs": len(times.seconds),
        "mean_s": times.mean,
        "median_s": median,
        "lower_quartile_s": low,
        "upper_quartile_s": high,
        "peak_memory_bytes": cell.memory[network],
        "backend_version": version(cell.backend),
        "host": socket.gethostname(),
    }
