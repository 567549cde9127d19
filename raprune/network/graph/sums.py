"""The rules of operations on two values: residual sums and gates."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import fx

from raprune.network.graph.align import Align
from raprune.network.graph.units import ZERO, Ids, either
from raprune.network.graph.walk import Value, Walk, shape


def total(walk: Walk, node: fx.Node, ids: Ids) -> Value:
    """A sum: a channel is present while any summand has it; with ``coupled``, all summands have the same channels."""
    pair, wide = _operands(walk, node)
    if pair is None:
        return wide
    one, other = (walk.ids_or_whole(operand) for operand in pair)
    both = either(one, other)
    if walk.coupled:
        walk.units.couple(both, "it is added to channels that stay")
    walk.sums.append(node)
    return both


def gate(walk: Walk, node: fx.Node, ids: Ids) -> Value:
    """A product: a channel is present only if both factors have it, so both get the same channels.

    From a factor whose channels all stay, the channels of the other factor are selected.
    """
    pair, wide = _operands(walk, node, multiplies=True)
    if pair is None:
        return wide
    one, other = pair
    if walk.ids(one) is None or walk.ids(other) is None:
        stays, goes = (one, other) if walk.ids(one) is None else (other, one)
        walk.factors.append((node, stays))
        return walk.ids(goes)
    walk.units.tie(walk.ids(one), walk.ids(other), f"{node.name} multiplies it with channels that stay")
    return walk.ids(one)


def _operands(walk: Walk, node: fx.Node, multiplies: bool = False) -> tuple[tuple[fx.Node, fx.Node] | None, Ids | None]:
    """Two operands with equally many channels; or, if one is the same for all channels, the other's channels."""
    operands: list[Any] = [*node.args, *(node.kwargs[k] for k in ("input", "other") if k in node.kwargs)]
    nodes = [operand for operand in operands[:2] if isinstance(operand, fx.Node) and "tensor_meta" in operand.meta]
    if len(nodes) == 1:
        return None, walk.ids(nodes[0])
    rank = max(len(shape(operand)) for operand in nodes)
    widths = []
    for operand in nodes:
        own = shape(operand)
        if len(own) < rank and walk.ids(operand) is not None:
            raise walk.refuse(node, f"it joins values of {len(own)} and {rank} dimensions")
        widths.append(((1,) * (rank - len(own)) + own)[1])
    if widths[0] == widths[1]:
        ranks = {len(shape(operand)) for operand in nodes}
        if len(ranks) > 1 and not (multiplies and ranks == {rank - 1, rank}):
            return None, _gate_by_parameter(walk, node, nodes)
        return (nodes[0], nodes[1]), None
    single, many = nodes if widths[0] == 1 else nodes[::-1]
    walk.fix(single, f"{node.name} broadcasts its one channel over all channels of another value")
    if walk.ids(many) is None:
        raise walk.refuse(node, "it broadcasts one channel that could be pruned over several that cannot")
    return None, walk.ids(many)


def _gate_by_parameter(walk: Walk, node: fx.Node, nodes: list[fx.Node]) -> Ids | None:
    """A value with fewer dimensions, such as a factor (C, 1, 1): its channels stay, and so do the other's."""
    for operand in nodes:
        walk.fix(operand, f"{node.name} joins it with a value of fewer dimensions, whose channels stay")
    return None


def move(walk: Walk, node: fx.Node, ids: Ids) -> Value:
    """An :class:`Align` of a network that was pruned before: it moves channels and adds zeros."""
    called = walk.called(node)
    assert isinstance(called, Align)
    if not called.index.numel():
        return ids
    if any(other is not node and other.target == node.target for other in walk.module.graph.nodes):
        raise walk.refuse(node, "it runs more than once")
    places = called.index.cpu().numpy()
    walk.moves.append((node, np.where(places < ids.shape[1], places, -1)))
    zeros = np.full((len(ids), 1), ZERO)
    return np.concatenate([ids, zeros], axis=1)[:, places]
