"""The prunable groups of a network, and every tensor and value that changes with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, fx

from raprune.errors import InputError
from raprune.network.graph.units import ZERO, Ids, Kept, present
from raprune.registry import nearest

Cuts = Mapping[str, Tensor]
"""layer -> keep mask over its original filters; layers not listed are whole."""


@dataclass(frozen=True)
class Axis:
    """A dimension of a state-dict tensor whose entries are removed with channels."""

    tensor: str
    dim: int
    ids: Ids
    """(K, entries)."""


@dataclass(frozen=True)
class Site:
    """An :class:`Align` module, which moves the channels of a value to another layout."""

    module: str
    source: Ids
    """Channels of its input."""
    target: Ids
    """Channels of its output."""
    places: npt.NDArray[np.int64]
    """For each output channel the input channel it takes; -1 for zeros."""

    def index(self, kept: Kept) -> Tensor:
        """The module's index under a mask; empty if nothing moves."""
        here, there = present(self.source, kept), present(self.target, kept)
        rank = np.where(here, np.cumsum(here) - 1, here.sum())
        wanted = self.places[there]
        index = np.where(wanted < 0, here.sum(), rank[wanted])
        if np.array_equal(index, np.arange(here.sum())):
            index = index[:0]
        return torch.from_numpy(index.astype(np.int64))


@dataclass(frozen=True)
class Member:
    """A convolution of a group."""

    layer: str
    dim: int
    """Dimension of its weight that counts its filters: 0, or 1 for a transposed convolution."""
    entries_N: npt.NDArray[np.int64]
    """For each of its filters the entry of the group's keep mask; -1 for a filter that always stays."""

    def weights_NM(self, weight: Tensor, kept_N: Tensor) -> Tensor:
        """The weight by kept entries of the mask, (kept, M); zeros for entries without a filter in this member."""
        rows, entries = weight.transpose(0, self.dim).flatten(1), torch.from_numpy(self.entries_N)
        entries = entries[(entries < 0) | kept_N[entries]]
        out = rows.new_zeros(len(kept_N), rows.shape[1])
        out[entries[entries >= 0]] = rows[entries >= 0]
        return out[kept_N]


@dataclass(frozen=True)
class Group:
    """Convolutions that share one keep mask; ``layer`` is the first of them."""

    layer: str
    num_filters: int
    """Entries of the keep mask; each stands for one filter in every member that has it."""
    members: tuple[Member, ...]
    consumers: tuple[str, ...]
    """Nodes that mix the channels: the keep mask acts at their input."""
    units: npt.NDArray[np.int64]
    """(num_filters,) unit of each entry."""
    role: str = "conv"
    """What the layer is in its block: ``conv1``, ``conv2``, ..., ``shortcut``, or ``conv``."""

    def weights_NM(self, tensors: Mapping[str, Tensor], kept_N: Tensor | None = None) -> Tensor:
        """The members' weights in a state dict, by entries of the mask, side by side.

        Where the state is already cut to ``kept_N`` in this group: by the entries that are left.
        """
        kept = torch.ones(self.num_filters, dtype=torch.bool) if kept_N is None else kept_N
        weights = [member.weights_NM(tensors[f"{member.layer}.weight"], kept) for member in self.members]
        return torch.cat(weights, 1)


@dataclass(frozen=True)
class Graph:
    """The prunable groups of one network, in the order they run."""

    groups: dict[str, Group]
    axes: tuple[Axis, ...]
    sites: tuple[Site, ...]
    values: dict[str, Ids]
    """Node -> the channels of its result; nodes whose channels always stay are not listed."""
    num_units: int
    dropouts: tuple[Axis, ...] = ()
    """Dropout modules and the channels that they read."""
    bare_norms: tuple[Axis, ...] = ()
    """Norms without tensors, whose size no tensor shows, and the channels that they read."""
    followers: tuple[str, ...] = ()
    """Depthwise convolutions of a sum, which lose filters with several groups and belong to none."""
    whole: dict[str, str] = field(default_factory=dict)
    """Convolution that cannot be pruned -> why."""
    depthwise: dict[str, int] = field(default_factory=dict)
    """Depthwise convolution -> its filters per channel; its groups follow its filters, even if one is left."""

    def group(self, layer: str) -> Group:
        """The group called ``layer``; an unknown name raises :class:`InputError` with the nearest known one."""
        if layer not in self.groups:
            why = f": {self.whole[layer]}" if layer in self.whole else nearest(layer, list(self.groups))
            raise InputError(f"no prunable layer is called {layer!r}{why}")
        return self.groups[layer]

    def arrange(self, layers: Iterable[str]) -> list[str]:
        """The named layers, from low to high."""
        wanted = {self.group(layer).layer for layer in layers}
        return [layer for layer in self.groups if layer in wanted]

    def kept(self, cuts: Cuts) -> Kept:
        """(num_units,): which units ``cuts`` keep."""
        kept = np.ones(self.num_units, dtype=bool)
        kept[ZERO] = False
        for layer, mask in cuts.items():
            group = self.group(layer)
            if mask.shape != (group.num_filters,):
                raise ValueError(f"{layer} has {group.num_filters} filters, its keep mask {mask.numel()} entries")
            kept[group.units] = mask.cpu().numpy()
        return kept

    def num_kept(self, cuts: Cuts, layers: Iterable[str]) -> tuple[int, int]:
        """Filters, and kept filters, of all members of ``layers``."""
        kept = self.kept(cuts)
        num_filters = num_kept = 0
        for layer in layers:
            group = self.group(layer)
            entries = kept[group.units]
            for member in group.members:
                num_filters += len(member.entries_N)
                num_kept += int((entries[member.entries_N] | (member.entries_N < 0)).sum())
        return num_filters, num_kept

    def prunable(self) -> tuple[int, int]:
        """Number of convolutions that can be pruned, and of all except those that produce the output."""
        prunable = len(self.followers) + sum(len(group.members) for group in self.groups.values())
        return prunable, prunable + sum(reason != GIVES_OUTPUT for reason in self.whole.values())

    def reasons(self) -> dict[str, list[str]]:
        """Reason -> convolutions that stay whole for it; the most frequent reason first."""
        convs: dict[str, list[str]] = {}
        for conv, reason in self.whole.items():
            convs.setdefault(reason, []).append(conv)
        return dict(sorted(convs.items(), key=lambda item: -len(item[1])))

    def nothing(self) -> str:
        """The message for a network in which nothing can be pruned."""
        why = [f"{', '.join(convs[:3])}{' ...' if convs[3:] else ''}: {why}" for why, convs in self.reasons().items()]
        return "\n  ".join(["it has no layer that can be pruned", *why[:8]])

    def touches(self, ids: Ids, group: Group) -> bool:
        """Whether channels depend on the mask of ``group``."""
        own = np.zeros(self.num_units, dtype=bool)
        own[group.units] = True
        return bool(own[ids].any())


GIVES_OUTPUT = "its filters are the network's output"


@dataclass(frozen=True)
class Traced:
    """A network as raprune runs it, and its groups."""

    network: fx.GraphModule
    """The traced network: the same function, parameters and names, plus :class:`Align` modules."""
    graph: Graph
