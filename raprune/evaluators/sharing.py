"""What the driver puts into Ray's object store for the study's other processes, on whichever node they run.

A data set is decoded once by the driver, fetched once by a node, and mapped by all evaluators there without a copy. So
the paths of data and checkpoints need exist on the driver's machine only.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from raprune.engine.inputs import Inputs
from raprune.errors import InputError, meaning
from raprune.plugins.datasets.base import Split, Splits
from raprune.plugins.datasets.reading import SCORED, parts_of, sources_of
from raprune.registry import is_given
from raprune.study import TrialSpec
from raprune.system.paths import expanded

Refs = dict[str, list[Any]]
"""Data set (JSON) -> its reference, in a list so that Ray does not fetch it before it is needed."""


@dataclass(frozen=True)
class SharedGiven:
    """What the driver gives other processes; references, which any of them may fetch."""

    networks: list[Any]
    """A reference to the pickle of a program's own networks by digest, in a list; the pickle is never written to disk.

    Empty if the study names its network."""
    data: Refs
    checkpoints: Refs
    """Checkpoint as the study names it -> its bytes."""
    check_node: Callable[[], None] = lambda: None
    """Raises :class:`InputError` on a node that lacks what the study needs; one may have joined since it began."""

    def use_networks(self, inputs: Inputs) -> None:
        """Add the program's networks to ``inputs``."""
        import ray
        from ray import cloudpickle

        for ref in self.networks:
            inputs.networks.update(cloudpickle.loads(ray.get(ref)))

    def use(self, inputs: Inputs) -> None:
        """Add the networks, data and checkpoints to ``inputs``."""
        self.use_networks(inputs)
        use_shared(self.data, inputs)
        for name, ref in self.checkpoints.items():
            inputs.provide_file(name, partial(_bytes_of, ref))


def share_given(trials: Sequence[TrialSpec], inputs: Inputs) -> SharedGiven:
    """Put the data sets and checkpoints of ``trials`` into the object store, and the networks that a program gave.

    Raises :class:`InputError` for a network that cannot be sent to another process, and for a checkpoint that cannot be
    read.
    """
    networks = _share_networks(inputs) if any(is_given(trial.model.name) for trial in trials) else []
    return SharedGiven(networks, share_data(trials, inputs), _share_checkpoints(trials))


def _share_networks(inputs: Inputs) -> list[Any]:
    import ray
    from ray import cloudpickle

    try:
        pickled = cloudpickle.dumps(inputs.networks)
    except Exception as error:  # whatever the parts of a user's network raise when they are pickled
        raise InputError(
            f"the network cannot be sent to other processes ({type(error).__name__}: {error}): use evaluators=0, "
            "which runs everything in this one"
        ) from error
    return [ray.put(pickled)]


def _bytes_of(ref: list[Any]) -> memoryview:
    import ray

    content: memoryview = ray.get(ref[0]).data
    return content


def _checkpoints(trials: Sequence[TrialSpec]) -> dict[str, Path]:
    """Checkpoint as the study names it -> file."""
    names = {name for trial in trials if (name := trial.baseline.checkpoint) is not None}
    return {name: expanded(name) for name in sorted(names)}


def _share_checkpoints(trials: Sequence[TrialSpec]) -> Refs:
    import ray

    refs: Refs = {}
    for name, file in _checkpoints(trials).items():
        try:
            refs[name] = [ray.put(np.fromfile(file, dtype=np.uint8))]
        except OSError as error:
            raise InputError(f"checkpoint {str(file)!r} cannot be read: {meaning(error)}") from error
    return refs


def data_bytes(trials: Sequence[TrialSpec], inputs: Inputs) -> int:
    """Bytes of the images and labels of ``trials`` that are held in memory, encoded or not, and their checkpoints'."""
    files = [file.stat().st_size for file in _checkpoints(trials).values() if file.is_file()]
    datasets = {trial.data.model_dump_json(): trial.data for trial in trials}
    sets = [inputs.encoded(dataset) for dataset in datasets.values()]
    every = [split for splits in sets for split in parts_of(splits).values()]
    encoded = [source.in_memory_bytes for splits in sets for source in sources_of(splits)]
    return (
        sum(files)
        + sum(encoded)
        + sum(t.numel() * t.element_size() for s in every for t in (s.images_BCHW, s.labels_B))
    )


def share_data(trials: Sequence[TrialSpec], inputs: Inputs) -> Refs:
    """Put the data sets of ``trials`` into the object store; drops the copy in ``inputs``.

    Of one that is larger than the memory for it, the list of its files goes there: each host decodes its own.
    """
    import ray

    refs: Refs = {}
    for trial in trials:
        key = trial.data.model_dump_json()
        if key not in refs:
            splits = inputs.encoded(trial.data)
            parts = parts_of(splits)
            arrays = {n: (s.images_BCHW.numpy(), s.labels_B.numpy(), s.stream) for n, s in parts.items()}
            bare = {f.name: getattr(splits, f.name) for f in fields(splits) if f.name not in ("train", *SCORED)}
            refs[key] = [ray.put((arrays, bare))]
    inputs.drop_read()
    return refs


def use_shared(refs: Refs, inputs: Inputs) -> None:
    """Give ``inputs`` the data sets in the object store."""
    import ray

    for key, ref in refs.items():
        arrays, bare = ray.get(ref[0])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of read-only memory; nobody writes to it
            parts = {n: Split(torch.from_numpy(x), torch.from_numpy(y), s) for n, (x, y, s) in arrays.items()}
        inputs.provide(key, Splits(parts["train"], parts["val"], parts.get("test"), guard=parts.get("guard"), **bare))


def pack(given: SharedGiven) -> bytes:
    """What an evaluator needs to find it, whenever and wherever it starts; it lives as long as this process.

    Plain bytes: Ray restarts an actor only with arguments that are not in the object store.
    """
    from ray import cloudpickle

    packed: bytes = cloudpickle.dumps(given)
    return packed


def unpack(packed: bytes) -> SharedGiven:
    """What :func:`pack` was given, on any node; nothing is fetched before it is used."""
    from ray import cloudpickle

    given: SharedGiven = cloudpickle.loads(packed)
    return given
