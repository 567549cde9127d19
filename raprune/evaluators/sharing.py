"""A data set in Ray's object store: decoded once by the driver, mapped by all evaluators of a host without a copy."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import torch

from raprune.data import Split, Splits
from raprune.study import TrialSpec
from raprune.workload import forget_data, load_data, provide_data

Refs = dict[str, list[Any]]
"""Data set (JSON) -> its reference, in a list so that Ray does not fetch it before it is wanted."""


def data_bytes(trials: Sequence[TrialSpec]) -> int:
    """Bytes of all images and labels of the data sets of ``trials``."""
    datasets = {trial.dataset.model_dump_json(): trial.dataset for trial in trials}
    every = [split for dataset in datasets.values() for split in _parts(load_data(dataset)).values()]
    return sum(t.numel() * t.element_size() for split in every for t in (split.images_BCHW, split.labels_B))


def share_data(trials: Sequence[TrialSpec]) -> Refs:
    """Put the data sets of ``trials`` into the object store; this process lets go of its own copy."""
    import ray

    refs: Refs = {}
    for trial in trials:
        key = trial.dataset.model_dump_json()
        if key not in refs:
            splits = load_data(trial.dataset)
            arrays = {n: (s.images_BCHW.numpy(), s.labels_B.numpy()) for n, s in _parts(splits).items()}
            bare = {f.name: getattr(splits, f.name) for f in fields(splits) if f.name not in ("train", "val", "test")}
            refs[key] = [ray.put((arrays, bare))]
    forget_data()
    return refs


def use_shared(refs: Refs) -> None:
    """Let this process read its data sets from the object store."""
    import ray

    for key, ref in refs.items():
        arrays, bare = ray.get(ref[0])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch wonders about memory that cannot be written; nobody writes it
            parts = {n: Split(torch.from_numpy(x), torch.from_numpy(y)) for n, (x, y) in arrays.items()}
        provide_data(key, Splits(parts["train"], parts["val"], parts.get("test"), **bare))


def _parts(splits: Splits) -> dict[str, Split]:
    parts = {"train": splits.train, "val": splits.val, "test": splits.test}
    return {name: split for name, split in parts.items() if split is not None}
