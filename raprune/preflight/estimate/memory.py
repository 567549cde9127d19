"""What an evaluator holds, part by part, and how long one takes to start.

The libraries are measured in a process of their own that loads what an evaluator loads; the rest is counted in bytes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from raprune.engine import Engine
from raprune.engine.base import MAX_NETWORKS
from raprune.network.measure import count_bytes
from raprune.plugins.datasets.base import Split, Splits, normalise

LOADED = (
    "import ray, raprune.evaluators.ray_pool, raprune.engine.cache.shared, raprune.baseline.prepare; "
    "from raprune.registry import ENGINES; ENGINES.names()"
)
RESIDENT = f"""{LOADED}
with open("/proc/self/status") as file:
    print(next(line.split()[1] for line in file if line.startswith("VmRSS")))
"""
TRAINED = 3
"""Copies of a network in training: weights, gradients, momentum."""


@dataclass(frozen=True)
class Libraries:
    """A process that has loaded what an evaluator loads."""

    num_bytes: int | None
    """``None`` where the system does not tell."""
    start_s: float


def measure_libraries() -> Libraries:
    """Starts the process and waits for its end."""
    told = Path("/proc/self/status").is_file()
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    start = time.perf_counter()
    command = [sys.executable, "-c", RESIDENT if told else LOADED]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return Libraries(int(done.stdout) * 1024 if told else None, time.perf_counter() - start)


@dataclass(frozen=True)
class Held:
    """Bytes of an evaluator beside its libraries."""

    networks: int
    """The baseline, the states that are kept built, and one in training."""
    data: int
    """Images and labels of all splits: once a host on processors, in each evaluator on GPUs."""
    prefixes: int
    """What the layers below a decided one give, at most: once a host on processors, in each evaluator on GPUs."""
    working: int
    """What a training step keeps for its backward pass, or a scored batch on its way, whichever is more."""


def held_by(engine: Engine, data: Splits, batch_size: int, train_size: int, cache_bytes: int) -> Held:
    """What ``engine`` will hold with all of ``data``."""
    network = engine.traced.network
    parts = [part for part in (data.train, data.val, data.test) if part is not None]
    trained = max(
        _saved_bytes(lambda: network.train()(_images(engine, data.train, train_size)), network),
        _largest_output(network, _images(engine, data.val, batch_size)),
    )
    network.eval()
    prefixes = min(cache_bytes, _largest_prefix(engine, len(data.val)))
    return Held((1 + MAX_NETWORKS + TRAINED) * count_bytes(network), sum(map(_bytes, parts)), prefixes, trained)


def _images(engine: Engine, split: Split, number: int) -> Tensor:
    splits = engine.splits
    images = split.images_BCHW[:number].to(engine.device)
    return normalise(images, splits).contiguous(memory_format=torch.channels_last)


def _bytes(split: Split) -> int:
    return sum(t.numel() * t.element_size() for t in (split.images_BCHW, split.labels_B))


def _saved_bytes(forward: Callable[[], object], network: nn.Module) -> int:
    """Bytes that a forward pass keeps for the backward one, parameters not counted."""
    own = {t.data_ptr() for t in network.state_dict().values()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in own:
            kept[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = forward()
    del result
    network.load_state_dict(state)
    return sum(kept.values())


@torch.no_grad()
def _outputs(network: nn.Module, images: Tensor) -> dict[str, int]:
    """Module -> bytes of what it gives."""
    found: dict[str, int] = {}

    def note(name: str) -> Callable[[nn.Module, object, object], None]:
        def hook(module: nn.Module, inputs: object, output: object) -> None:
            del module, inputs
            if isinstance(output, Tensor):
                found[name] = output.numel() * output.element_size()

        return hook

    handles = [m.register_forward_hook(note(n)) for n, m in network.named_modules() if not list(m.children())]
    try:
        network.eval()(images)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _largest_output(network: nn.Module, images: Tensor) -> int:
    """A layer reads one and writes another."""
    return 2 * max(_outputs(network, images).values(), default=0)


def _largest_prefix(engine: Engine, num_images: int) -> int:
    """Of one layer, all of val: what the layer's convolution gives crosses to what reads it."""
    given = _outputs(engine.traced.network, _images(engine, engine.splits.val, 1))
    return max((given.get(layer, 0) for layer in engine.graph.groups), default=0) * num_images
