"""The network at one moment of a trial: which filters are kept, and its weights if they were fine-tuned."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from raprune.network.graph import Graph
from raprune.network.lowrank.factor import Factor
from raprune.network.lowrank.factorising import factorised
from raprune.network.masks import KeepMask
from raprune.network.surgery import cut_tensors

Arrays = Mapping[str, np.ndarray]

ALL_LAYERS = "all layers"
"""In place of a layer: the filters that a state keeps, layer after layer as the network runs, under one keep mask."""


@dataclass(frozen=True, eq=False)
class State:
    """Cuts plus the tensors that changed. Picklable; states with equal content have equal versions."""

    baseline_key: str
    cuts: Mapping[str, KeepMask]
    """layer -> keep mask over its original filters."""
    arrays: Arrays
    """The complete, already smaller state dict after a fine-tune; empty while the weights are the baseline's."""
    factors: Mapping[str, Factor] = field(default_factory=dict)
    """layer -> what low rank put in its place; ``arrays`` hold its weights. After the first factor, nothing is cut."""

    @classmethod
    def baseline(cls, baseline_key: str) -> State:
        """The untouched network."""
        return cls(baseline_key, {}, {})

    def __setstate__(self, content: dict[str, Any]) -> None:
        """Copies the arrays: those from Ray's object store are shared and read-only."""
        own = {name: np.array(array) for name, array in content["arrays"].items()}
        self.__dict__.update(content, arrays=own)

    @cached_property
    def version(self) -> str:
        """Content hash of baseline, cuts and tensors, however the state was reached."""
        sha = hashlib.sha256(self.baseline_key.encode())
        for layer in sorted(self.cuts):
            sha.update(layer.encode() + b"\0" + self.cuts[layer].key)
        for layer in sorted(self.factors):
            factor = self.factors[layer]
            sha.update(f"\0{layer}\0{factor.scheme}\0{factor.rank}".encode())
        for name in sorted(self.arrays):
            array = np.ascontiguousarray(self.arrays[name])
            sha.update(f"\0{name}{array.dtype}{array.shape}".encode())
            sha.update(array.data if array.size else b"")
        return sha.hexdigest()[:16]

    def keep_masks(self) -> dict[str, Tensor]:
        """The cuts as bool tensors."""
        return {layer: mask.tensor for layer, mask in self.cuts.items()}

    def cut(self, graph: Graph, layer: str, mask: KeepMask) -> State:
        """The state after ``layer`` is cut to ``mask``; the layer must be whole in this one.

        ``ALL_LAYERS`` cuts all layers at once, each of them perhaps further; see :meth:`all_cut`.
        """
        if layer in self.cuts:
            raise ValueError(f"{layer} is already cut")
        if self.factors:
            raise ValueError(f"{layer} cannot be cut: filters are pruned before layers are factorised")
        cuts = self.all_cut(graph, mask) if layer == ALL_LAYERS else {**self.cuts, layer: mask}
        cut = State(self.baseline_key, cuts, {})
        if not self.arrays:
            return cut
        tensors = cut_tensors(graph, to_tensors(self.arrays), self.keep_masks(), cut.keep_masks())
        return replace(cut, arrays=to_arrays(tensors))

    def kept_of(self, graph: Graph) -> dict[str, KeepMask]:
        """The keep masks of all layers, whole ones too, as the network runs."""
        return {
            layer: self.cuts.get(layer) or KeepMask.whole(group.num_filters) for layer, group in graph.groups.items()
        }

    def all_cut(self, graph: Graph, mask: KeepMask) -> dict[str, KeepMask]:
        """The cuts once the filters that are left of all layers are cut to ``mask``, one entry for each.

        Raises :class:`ValueError` where ``mask`` has another length or leaves a layer without filters.
        """
        before = self.kept_of(graph)
        if mask.num_filters != sum(kept.num_kept for kept in before.values()):
            raise ValueError(f"a keep mask of {ALL_LAYERS} has one entry for each filter that is left")
        entries = iter(mask.key)
        after = {layer: KeepMask(bytes(kept and next(entries) for kept in old.key)) for layer, old in before.items()}
        return {layer: cut for layer, cut in after.items() if layer in self.cuts or not cut.keeps_all}

    def trained(self, tensors: Mapping[str, Tensor]) -> State:
        """The same structure with new weights."""
        return replace(self, arrays=to_arrays(tensors))

    def factorised(
        self, graph: Graph, baseline: Mapping[str, Tensor], layer: str, factor: Factor, pair: Mapping[str, Tensor]
    ) -> State:
        """The state with ``factor`` in place of ``layer``; ``pair`` is the state dict of the two layers."""
        if layer in self.factors:
            raise ValueError(f"{layer} is already factorised")
        tensors = factorised(self.tensors(graph, baseline), layer, pair)
        return replace(self, arrays=to_arrays(tensors), factors={**self.factors, layer: factor})

    def unfactorised(self) -> State:
        """The same cuts without factors and with the baseline's weights, which is enough to measure sizes."""
        return State(self.baseline_key, self.cuts, {})

    def tensors(self, graph: Graph, baseline: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The complete state dict, on the CPU, never sharing memory with ``arrays``."""
        if self.arrays:
            return {name: tensor.clone() for name, tensor in to_tensors(self.arrays).items()}
        return cut_tensors(graph, baseline, {}, self.keep_masks())


def to_arrays(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """numpy copies, to be hashed and sent between processes."""
    return {name: np.array(t.detach().cpu().contiguous().numpy()) for name, t in tensors.items()}


def to_tensors(arrays: Arrays) -> dict[str, Tensor]:
    """Copies as tensors: writing to them does not change ``arrays``, which many processes may share."""
    return {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
