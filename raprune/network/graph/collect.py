"""The end of a walk: turns units into groups, sums and paddings into :class:`Align` modules, and returns a Graph."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import torch
from torch import fx, nn

from raprune.network.graph.align import Align
from raprune.network.graph.modes import WideDropout
from raprune.network.graph.module import fresh_name
from raprune.network.graph.network import Axis, Graph, Group, Member, Site
from raprune.network.graph.plain import is_altered
from raprune.network.graph.roles import roles_of
from raprune.network.graph.units import FIXED, PINNED, RESERVED, Ids, simplest, whole
from raprune.network.graph.walk import Walk, argument, shape

DROPOUTS = (nn.Dropout, nn.Dropout2d, WideDropout)


def collect(walk: Walk) -> Graph:
    """The graph of a finished walk; puts the network's :class:`Align` modules in place."""
    return _Collector(walk).graph()


class _Collector:
    def __init__(self, walk: Walk) -> None:
        self.walk = walk
        self.components = _components(walk)
        self.pinned = self._pin()

    def final(self, ids: Ids) -> Ids:
        """Ids in the form that the graph uses."""
        roots = self.walk.units.find(ids)
        return simplest(np.where(np.isin(roots, self.pinned), PINNED, roots))

    def graph(self) -> Graph:
        walk = self.walk
        values = {node: self.final(ids) for node, ids in walk.values.items() if isinstance(ids, np.ndarray)}
        for node, value in walk.values.items():  # both results of a pool have the same channels
            if isinstance(value, tuple) and isinstance(value[0], np.ndarray):
                values[node] = self.final(value[0])
        sites = self._sites(values)
        walk.module.graph.eliminate_dead_code()
        consumed = [(node.name, self.final(ids)) for node, ids in walk.consumed]
        consumed += [(node, site.source) for node, site in sites]
        groups = self._groups(consumed)
        axes = tuple(Axis(tensor, dim, self.final(ids)) for (tensor, dim), ids in walk.axes.items())
        last = max([PINNED, *(int(self.final(ids).max()) for _, ids in walk.filters.values())])
        pruned = {member.layer for group in groups.values() for member in group.members}
        others = {conv: self.final(ids) for conv, (_, ids) in walk.filters.items() if conv not in pruned}
        return Graph(
            groups=groups,
            axes=tuple(axis for axis in axes if (axis.ids >= RESERVED).any()),
            sites=tuple(site for _, site in sites),
            values={node.name: ids for node, ids in values.items() if (ids >= RESERVED).any()},
            num_units=last + 1,
            dropouts=self._dropouts(values),
            bare_norms=tuple(Axis(name, 0, self.final(ids)) for name, ids in walk.bare_norms),
            followers=tuple(conv for conv, ids in others.items() if not (ids == FIXED).any()),
            whole={
                **{conv: _reason(walk, walk.filters[conv][1]) for conv, ids in others.items() if (ids == FIXED).any()},
                **_inside(walk),
            },
            depthwise=walk.depthwise,
        )

    def _pin(self) -> npt.NDArray[np.int64]:
        """Units that always stay, so that no convolution loses all its filters while its group keeps some."""
        pinned: list[int] = []
        for convs in self.components:
            roots = {conv: self.walk.units.find(self.walk.filters[conv][1][0]) for conv in convs}
            every = np.unique(np.concatenate(list(roots.values())))
            for own in roots.values():
                if len(np.unique(own)) < len(every) and not np.isin(own, pinned).any():
                    pinned.append(int(own.min()))
        for node, (source, places) in reversed(self.walk.picks.items()):  # nor a part of a value
            if len(places) == self.walk.values[source].shape[1]:
                continue
            ids = self.walk.units.find(self.walk.values[node])
            units = ids[ids >= RESERVED]
            if len(units) and not (ids == FIXED).any() and not np.isin(units, pinned).any():
                pinned.append(int(units.min()))
        return np.asarray(pinned, dtype=np.int64)

    def _groups(self, consumed: Iterable[tuple[str, Ids]]) -> dict[str, Group]:
        roles = roles_of(self.walk)
        readers: dict[int, list[tuple[int, str]]] = {}
        for order, (node, ids) in enumerate(consumed):
            for unit in np.unique(ids).tolist():
                readers.setdefault(unit, []).append((order, node))
        groups = {}
        for convs in self.components:
            roots = [self.final(self.walk.filters[conv][1])[0] for conv in convs]
            units = list(dict.fromkeys(int(u) for own in roots for u in own if u >= RESERVED))
            place = {unit: entry for entry, unit in enumerate(units)}
            members = tuple(
                Member(conv, self.walk.filters[conv][0], np.asarray([place.get(int(u), -1) for u in own]))
                for conv, own in zip(convs, roots, strict=True)
            )
            ours = np.asarray(units)
            ordered = sorted({reader for unit in units for reader in readers.get(unit, ())})
            consumers = dict.fromkeys(node for _, node in ordered)
            groups[convs[0]] = Group(convs[0], len(units), members, tuple(consumers), ours, roles.get(convs[0], "conv"))
        return groups

    def _dropouts(self, values: dict[fx.Node, Ids]) -> tuple[Axis, ...]:
        """Make dropout draw at full width; returns the channels that each dropout reads."""
        dropouts: list[Axis] = []
        for node in self.walk.module.graph.nodes:
            called = self.walk.called(node)
            ids = values.get(node)
            if ids is None or not isinstance(called, DROPOUTS) or type(called) not in DROPOUTS or is_altered(called):
                continue
            name = fresh_name(self.walk.module, f"dropout_{len(dropouts)}")
            channels = called.channels if isinstance(called, WideDropout) else isinstance(called, nn.Dropout2d)
            wide = WideDropout(called.p, ids.shape[1], channels)
            self.walk.module.put(name, wide, instead=str(node.target))
            node.target = name
            dropouts.append(Axis(name, 1, ids))
        return tuple(dropouts)

    def _sites(self, values: dict[fx.Node, Ids]) -> list[tuple[str, Site]]:
        """Insert the :class:`Align` modules; returns where each moves channels, with the name of its node."""
        sites: list[tuple[str, Site]] = []
        for node, places in self.walk.moves:
            moved = values[node.all_input_nodes[0]]
            sites.append((node.name, Site(str(node.target), moved, values[node], places)))
        now: dict[fx.Node, fx.Node] = {}
        for node, (taken, picked) in self.walk.picks.items():
            source = now.get(taken, taken)
            ids = values.get(source)
            if ids is not None and (ids >= RESERVED).any():
                now[node] = self._insert(node, source, ids, values[node], picked, sites, replace=True)
                values[now[node]] = values.pop(node)
        for node, factor in self.walk.factors:
            if (values[node] >= RESERVED).any():
                factor = self._of_rank(node, now.get(factor, factor), len(shape(node)))
                every = whole(values[node].shape[1])
                align = self._insert(node, factor, every, values[node], np.arange(every.shape[1]), sites)
                values[align] = values[node]
        for node, before, behind in self.walk.pads:
            source = node.all_input_nodes[0]
            ids = values.get(source)
            assert ids is not None
            places = np.concatenate([np.full(before, -1), np.arange(ids.shape[1]), np.full(behind, -1)])
            align = self._insert(node, source, ids, values[node], places, sites)
            values[align] = values[node]
            node.args = (align, list(argument(node, 1, "pad")[:4]), *node.args[2:])
            node.kwargs = {k: v for k, v in node.kwargs.items() if k not in ("pad", "input")}
        for node in self.walk.sums:
            for operand in dict.fromkeys(node.all_input_nodes):
                ids = values.get(operand)
                if ids is None or np.array_equal(ids, values[node]):
                    continue
                align = self._insert(node, operand, ids, values[node], np.arange(ids.shape[1]), sites)
                values[align] = values[node]
        return sites

    def _of_rank(self, node: fx.Node, source: fx.Node, rank: int) -> fx.Node:
        """What ``node`` reads, with a leading dimension of images if it has none."""
        if len(shape(source)) == rank:
            return source
        with self.walk.module.graph.inserting_before(node):
            wider = self.walk.module.graph.call_function(torch.unsqueeze, (source, 0))
        node.replace_input_with(source, wider)
        return wider

    def _insert(
        self,
        node: fx.Node,
        source: fx.Node,
        ids: Ids,
        target: Ids,
        places: npt.NDArray[np.int64],
        sites: list[tuple[str, Site]],
        replace: bool = False,
    ) -> fx.Node:
        """Insert an :class:`Align` between two nodes, or in place of the later one (``replace``)."""
        name = fresh_name(self.walk.module, f"align_{len(sites)}")
        self.walk.module.add_submodule(name, Align())
        with self.walk.module.graph.inserting_before(node):
            align = self.walk.module.graph.call_module(name, (source,))
        if replace:
            node.replace_all_uses_with(align)
            self.walk.sums = [align if known is node else known for known in self.walk.sums]
        else:
            node.replace_input_with(source, align)
        sites.append((align.name, Site(name, ids, target, places)))
        return align


def _components(walk: Walk) -> list[list[str]]:
    """Convolutions that share units, in network order, without those of which some filters must stay.

    A depthwise convolution that reads a residual sum has no units of its own: it follows several groups.
    """
    again = True
    while again:  # one fixed filter fixes its convolution, and so those that share the others
        again = False
        for _, ids in walk.filters.values():
            found = walk.units.find(ids)
            if len(found) == 1 and (found == FIXED).any() and (found != FIXED).any():
                reason = _reason(walk, ids)
                walk.units.fix(ids, reason)
                again = True
    by_root: dict[int, list[str]] = {}
    components: list[list[str]] = []
    for conv, (_, ids) in walk.filters.items():
        found = walk.units.find(ids)
        if len(simplest(found)) > 1 or (found == FIXED).any():
            continue
        roots = np.unique(found).tolist()
        joined = list({id(c): c for root in roots if (c := by_root.get(root)) is not None}.values())
        merged = [*dict.fromkeys(name for c in joined for name in c), conv]
        components = [c for c in components if not any(c is j for j in joined)] + [merged]
        for name in merged:
            for root in np.unique(walk.units.find(walk.filters[name][1])).tolist():
                by_root[root] = merged
    order = {conv: place for place, conv in enumerate(walk.filters)}
    for component in components:
        component.sort(key=order.__getitem__)
    return sorted(components, key=lambda component: order[component[0]])


def _reason(walk: Walk, ids: Ids) -> str:
    """Why some of these filters must stay."""
    reasons = [walk.units.reasons[unit] for unit in np.unique(ids).tolist() if unit in walk.units.reasons]
    return next((reason for reason in reasons if reason), "it shares channels with a layer that must stay whole")


def _inside(walk: Walk) -> dict[str, str]:
    """Convolutions inside opaque modules, which the walk does not enter -> why they stay whole."""
    return {
        f"{module}.{name}": reason
        for module, reason in walk.opaque.items()
        for name, part in walk.module.get_submodule(module).named_modules()
        if name and isinstance(part, nn.Conv2d | nn.ConvTranspose2d)
    }
