"""What runs a network: PyTorch as it is, compiled, or ONNX Runtime. Torch is imported only where it runs the network.

All take channels-last images, the layout in which raprune scores (ONNX Runtime picks its own).
"""

from __future__ import annotations

import importlib
import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from raprune.export.refusals import Refused, first_line
from raprune.export.sessions import open_session

if TYPE_CHECKING:
    import torch

BACKENDS = ("eager", "compiled", "onnxruntime")
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
"""Device -> what ONNX Runtime calls the part of it that runs there."""

Array = npt.NDArray[np.float32]


class Unavailable(Exception):
    """A backend that is not here or fails; the message is one sentence for the user."""


@dataclass(frozen=True)
class Prepared:
    """A network ready to run on one batch."""

    run: Callable[[], Any]
    """One forward pass; returns when its result is there."""
    output: Callable[[], Array]
    """The result of a forward pass, on the CPU."""


def images(shape: Sequence[int]) -> Array:
    """The batch that all backends get: (B, C, H, W), normal noise, always the same."""
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def store(backend: str, network: torch.fx.GraphModule, shape: Sequence[int], file: Path) -> None:
    """Write ``network`` as ``backend`` loads it, for batches of ``shape``; raises :class:`Unavailable`."""
    import torch

    if backend != "onnxruntime":
        try:
            torch.save(network, file)
        except Exception as error:  # a user's module that cannot be pickled raises what it likes
            raise Unavailable(f"{backend} is left out: the network cannot be stored: {first_line(error)}") from error
        return
    from raprune.export.onnx import write_onnx

    try:
        write_onnx(network, torch.from_numpy(images(shape)), file)
    except Refused as error:
        raise Unavailable(f"onnxruntime is left out: {error}") from error


def prepare(backend: str, file: Path, shape: Sequence[int], device: str, threads: int) -> Prepared:
    """The network in ``file`` on ``device``, run once (and so compiled); raises :class:`Unavailable`."""
    make = _onnxruntime if backend == "onnxruntime" else _torch
    try:
        prepared = make(backend, file, shape, device, threads)
        prepared.run()
    except Unavailable:
        raise
    except Exception as error:  # a compiler that is not there, memory that does not suffice, an operation unknown
        raise Unavailable(f"{backend} on {device}, batch {shape[0]}, is left out: {_reason(backend, error)}") from error
    return prepared


def version(backend: str) -> str:
    """Of the library that runs the network."""
    module: Any = importlib.import_module("onnxruntime" if backend == "onnxruntime" else "torch")
    return str(module.__version__)


def _torch(backend: str, file: Path, shape: Sequence[int], device: str, threads: int) -> Prepared:
    import torch

    torch.set_num_threads(threads)
    network = torch.load(file, map_location=device, weights_only=False).to(memory_format=torch.channels_last)
    batch_BCHW = torch.from_numpy(images(shape)).to(device).contiguous(memory_format=torch.channels_last)
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # says that there is no GPU
    call = torch.compile(network, dynamic=False) if backend == "compiled" else network
    wait = {"cuda": torch.cuda.synchronize, "mps": torch.mps.synchronize}.get(device, _nothing)

    def run() -> torch.Tensor:
        with torch.inference_mode():
            result: torch.Tensor = call(batch_BCHW)
        wait()
        return result

    return Prepared(run, lambda: run().cpu().numpy())


def _nothing() -> None:
    pass


def _onnxruntime(backend: str, file: Path, shape: Sequence[int], device: str, threads: int) -> Prepared:
    import onnxruntime

    provider = PROVIDERS.get(device)
    if provider is None or provider not in onnxruntime.get_available_providers():
        raise Unavailable(f"onnxruntime on {device} is left out: the package installed here runs on the processor only")
    session = open_session(file, provider, threads)
    binding = session.io_binding()
    batch = onnxruntime.OrtValue.ortvalue_from_numpy(images(shape), device, 0)
    binding.bind_ortvalue_input(session.get_inputs()[0].name, batch)
    binding.bind_output(session.get_outputs()[0].name, device)

    def run() -> None:
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()

    def output() -> Array:
        run()
        result: Array = binding.copy_outputs_to_cpu()[0]
        return result

    return Prepared(run, output)


def _reason(backend: str, error: Exception) -> str:
    if backend == "compiled" and not any(shutil.which(name) for name in ("g++", "c++", "clang++", "cl")):
        return "torch.compile needs a C++ compiler, such as g++, and there is none"
    return first_line(error)
