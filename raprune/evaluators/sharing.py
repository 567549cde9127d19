"""A data set in Ray's object store: decoded once by the driver, mapped by all evaluators of a host without a copy."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch

from raprune.engine.inputs import Inputs
from raprune.errors import InputError
from raprune.plugins.datasets.base import Split, Splits
from raprune.registry import is_given
from raprune.study import TrialSpec

PARTS = ("train", "val", "guard", "test")
"""The splits of a data set."""

Refs = dict[str, list[Any]]
"""Data set (JSON) -> its reference, in a list so that Ray does not fetch it before it is needed."""


@dataclass(frozen=True)
class SharedGiven:
    """A program's own network and data, for other processes."""

    networks: list[Any]
    """A reference to the pickle of all networks by digest, in a list; the pickle is never written to disk."""

    def use_networks(self, inputs: Inputs) -> None:
        """Add the program's networks to ``inputs``."""
        import ray
        from ray import cloudpickle

        inputs.networks.update(cloudpickle.loads(ray.get(self.networks[0])))


def share_given(trials: Sequence[TrialSpec], inputs: Inputs) -> SharedGiven | None:
    """Put the program's own networks into the object store; ``None`` where it gave nothing.

    Raises :class:`InputError` for a network that cannot be sent to another process.
    """
    import ray
    from ray import cloudpickle

    if not any(is_given(trial.model.name) for trial in trials):
        return None
    try:
        pickled = cloudpickle.dumps(inputs.networks)
    except Exception as error:  # whatever the parts of a user's network raise when they are pickled
        raise InputError(
            f"the network cannot be sent to other processes ({type(error).__name__}: {error}): use evaluators=0, "
            "which runs everything in this one"
        ) from error
    return SharedGiven([ray.put(pickled)])


def data_bytes(trials: Sequence[TrialSpec], inputs: Inputs) -> int:
    """Bytes of all images and labels of the data sets of ``trials``."""
    datasets = {trial.data.model_dump_json(): trial.data for trial in trials}
    every = [split for dataset in datasets.values() for split in _parts(inputs.data(dataset)).values()]
    return sum(t.numel() * t.element_size() for split in every for t in (split.images_BCHW, split.labels_B))


def share_data(trials: Sequence[TrialSpec], inputs: Inputs) -> Refs:
    """Put the data sets of ``trials`` into the object store; drops the copy in ``inputs``."""
    import ray

    refs: Refs = {}
    for trial in trials:
        key = trial.data.model_dump_json()
        if key not in refs:
            splits = inputs.data(trial.data)
            arrays = {n: (s.images_BCHW.numpy(), s.labels_B.numpy()) for n, s in _parts(splits).items()}
            bare = {f.name: getattr(splits, f.name) for f in fields(splits) if f.name not in PARTS}
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
            parts = {n: Split(torch.from_numpy(x), torch.from_numpy(y)) for n, (x, y) in arrays.items()}
        inputs.provide(key, Splits(parts["train"], parts["val"], parts.get("test"), guard=parts.get("guard"), **bare))


def pack(given: SharedGiven | None, data: Refs) -> bytes:
    """What an evaluator needs to find them, whenever and wherever it starts; they live as long as this process.

    Plain bytes: Ray restarts an actor only with arguments that are not in the object store.
    """
    from ray import cloudpickle

    packed: bytes = cloudpickle.dumps((given, data))
    return packed


def unpack(packed: bytes, inputs: Inputs) -> None:
    """Give ``inputs`` what :func:`pack` was given: each data set comes to a node once."""
    from ray import cloudpickle

    given, data = cloudpickle.loads(packed)
    if given is not None:
        given.use_networks(inputs)
    use_shared(data, inputs)


def _parts(splits: Splits) -> dict[str, Split]:
    parts = {name: getattr(splits, name) for name in PARTS}
    return {name: split for name, split in parts.items() if split is not None}
