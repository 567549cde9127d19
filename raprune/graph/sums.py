"""The rules of operations on two values: residual sums and gates."""

from __future__ import annotations

from typing import Any

from torch import fx

from raprune.graph.units import Ids, either
from raprune.graph.walk import Value, Walk, shape


def total(walk: Walk, node: fx.Node, ids: Ids) -> Value:
    """A sum: a channel is there while a summand has it. ``coupled`` gives all summands the same channels."""
    pair = _pair(walk, node)
    if pair is None:
        return ids
    one, other = (walk.ids_or_whole(operand) for operand in pair)
    both = either(one, other)
    if walk.coupled:
        walk.units.couple(both, "it is added to channels that stay")
    walk.sums.append(node)
    return both


def gate(walk: Walk, node: fx.Node, ids: Ids) -> Value:
    """A product: a channel is there only with both factors, so they have the same channels."""
    pair = _pair(walk, node)
    if pair is None:
        return ids
    one, other = pair
    walk.units.tie(walk.ids(one), walk.ids(other), f"{node.name} multiplies it with channels that stay")
    return walk.ids(one)


def _pair(walk: Walk, node: fx.Node) -> tuple[fx.Node, fx.Node] | None:
    """Two operands of as many channels; ``None`` where one is a number or the same for all channels of the other."""
    operands: list[Any] = [*node.args, *(node.kwargs[k] for k in ("input", "other") if k in node.kwargs)]
    nodes = [operand for operand in operands[:2] if isinstance(operand, fx.Node) and "tensor_meta" in operand.meta]
    shapes = [shape(operand) for operand in nodes]
    if len(nodes) < 2 or min(map(len, shapes)) == 0:
        return None
    if len(shapes[0]) != len(shapes[1]):
        raise walk.refuse(node, f"it joins values of {len(shapes[0])} and {len(shapes[1])} dimensions")
    if shapes[0][1] == shapes[1][1]:
        return nodes[0], nodes[1]
    single = nodes[0] if shapes[0][1] == 1 else nodes[1]
    walk.fix(single, f"{node.name} spreads its one channel over all channels of another value")
    many = nodes[1] if single is nodes[0] else nodes[0]
    if walk.ids(many) is None:
        raise walk.refuse(node, "it spreads one channel that could be pruned over several that cannot")
    return None
