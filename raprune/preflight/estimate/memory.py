"""What an evaluator holds in memory, part by part, and how long it takes to start.

The libraries are measured in a separate process that loads what an evaluator loads; the rest is computed from sizes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, fx

from raprune.engine import Engine
from raprune.engine.base import MAX_NETWORKS
from raprune.plugins.datasets.base import Splits, normalise
from raprune.plugins.datasets.reading import SCORED, parts_of, sources_of
from raprune.plugins.datasets.stream import AHEAD

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
    """Memory and start of a process that loads what an evaluator loads."""

    num_bytes: int | None
    """``None`` where the system does not report it."""
    start_s: float


def measure_libraries() -> Libraries:
    """Measure the libraries: start the process and wait for its end."""
    tells = Path("/proc/self/status").is_file()
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    start = time.perf_counter()
    command = [sys.executable, "-c", RESIDENT if tells else LOADED]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return Libraries(int(done.stdout) * 1024 if tells else None, time.perf_counter() - start)


@dataclass(frozen=True)
class Held:
    """Bytes that an evaluator holds besides its libraries."""

    networks: int
    """The baseline, the states that are kept built, and one in training."""
    data: int
    """Images and labels in memory: once per host on processors, in each evaluator on GPUs."""
    encoded: int
    """Images in memory that are still encoded: once per host."""
    pixels: int
    """Images in files of the cache that all processes of a host map: the system may drop them from memory."""
    copied: int
    """Encoded images in files of the cache of a host."""
    ahead: int
    """Batches of training images that an evaluator's own processes decode ahead; 0 where images are in memory."""
    prefixes: int
    """Cached outputs of the layers below a decided one, at most: held once per host, or in each evaluator on GPUs."""
    working: int
    """What a training step keeps for its backward pass, or a batch while it is scored, whichever is more."""


def num_bytes(tensors: Iterable[Tensor]) -> int:
    """Bytes of all ``tensors``."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def held_by(engine: Engine, data: Splits, batch_size: int, train_size: int, cache_bytes: int) -> Held:
    """What ``engine`` will hold with all of ``data``, which is still encoded where files of pixels are mapped."""
    network = engine.traced.network
    assert isinstance(network, fx.GraphModule)
    metas = {str(node.target): node.meta.get("tensor_meta") for node in network.graph.nodes}
    outputs = {name: 4 * meta.shape[1:].numel() for name, meta in metas.items() if hasattr(meta, "shape")}  # per image
    parts, stream = parts_of(data), data.train.stream
    return Held(
        (1 + MAX_NETWORKS + TRAINED) * num_bytes(network.state_dict().values()),
        num_bytes(tensor for part in parts.values() for tensor in (part.images_BCHW, part.labels_B)),
        sum(source.in_memory_bytes for source in sources_of(data)),
        sum(part.stream.num_bytes for name, part in parts.items() if name in SCORED and part.stream is not None),
        sum(source.copied_bytes for source in sources_of(data)),
        0 if stream is None else _workers(engine) * AHEAD * train_size * stream.image_bytes,
        min(cache_bytes, len(data.val) * max((outputs.get(layer, 0) for layer in engine.graph.groups), default=0)),
        # a layer that is scored reads one output and writes another
        max(_kept_in_training(engine, train_size), 2 * batch_size * max(outputs.values())),
    )


def _workers(engine: Engine) -> int:
    """Processes that decode training images for ``engine``."""
    stream = engine.splits.train.stream
    return 0 if stream is None else stream.workers


def _kept_in_training(engine: Engine, batch_size: int) -> int:
    """Bytes that a forward pass keeps for the backward pass, without the parameters."""
    network, kept = engine.traced.network, dict[int, Tensor]()
    images = engine.splits.train.at(slice(batch_size))
    inputs = normalise(images, engine.splits).contiguous(memory_format=torch.channels_last)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.setdefault(t.data_ptr(), t), lambda t: t):
        result = network.train()(inputs)
    network.eval()
    own = {tensor.data_ptr() for tensor in network.state_dict().values()}
    del result
    return num_bytes(tensor for place, tensor in kept.items() if place not in own)
