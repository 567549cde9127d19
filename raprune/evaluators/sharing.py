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
from raprune.plugins.datasets.reading import SCORED, parts_of
from raprune.registry import is_given
from raprune.study import TrialSpec

Refs = dict[str, list[Any]]
"""Data set (JSON) -> its reference, in a list so that Ray does not fetch it before it is needed."""


@dataclass(frozen=True)
class SharedGiven:
    """A program's own network and data, for other processes."""

    networks: list[Any]
    """A reference to the pickle of all networks by digest, in a list; the pickle is never written to disk."""
    data: Refs

    def use_networks(self, inputs: Inputs) -> None:
        """Add the program's networks to ``inputs``."""
        import ray
        from ray import cloudpickle

        inputs.networks.update(cloudpickle.loads(ray.get(self.networks[0])))

    def use(self, inputs: Inputs) -> None:
        """Add the program's networks and data to ``inputs``."""
        self.use_networks(inputs)
        use_shared(self.data, inputs)


def share_given(trials: Sequence[TrialSpec], data: Refs, inputs: Inputs) -> SharedGiven | None:
    """Put the program's own networks into the object store and select its own data; ``None`` where it gave nothing.

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
    named = {trial.data.model_dump_json() for trial in trials if is_given(trial.dataset.name)}
    return SharedGiven([ray.put(pickled)], {key: ref for key, ref in data.items() if key in named})


def data_bytes(trials: Sequence[TrialSpec], inputs: Inputs) -> int:
    """Bytes of all images and labels of the data sets of ``trials`` that are held in memory."""
    datasets = {trial.data.model_dump_json(): trial.data for trial in trials}
    every = [split for dataset in datasets.values() for split in parts_of(inputs.encoded(dataset)).values()]
    return sum(t.numel() * t.element_size() for split in every for t in (split.images_BCHW, split.labels_B))


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
