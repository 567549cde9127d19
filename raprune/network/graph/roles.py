"""The role of a convolution in its residual block, found from the sum that ends the block, not from module names.

The two summands of a block come from one value. The branch with more convolutions is the body, whose convolutions are
``conv1``, ``conv2`` and so on; those of the other branch, if any, are ``shortcut``. A convolution outside any block, or
one that computes channel weights at a single pixel (squeeze-and-excitation), is ``conv``.
"""

from __future__ import annotations

import math

from torch import fx, nn

from raprune.network.graph.walk import Walk, shape

MAX_CONVS = 4
"""Most convolutions in a block's body; more between a value and its sum are a long skip connection, not a block."""


def roles_of(walk: Walk) -> dict[str, str]:
    """Convolution -> role, for those in a block."""
    nodes = list(walk.module.graph.nodes)
    place = {node: index for index, node in enumerate(nodes)}
    above: list[int] = []
    """For each node, a bit set of itself and all that it depends on."""
    for index, node in enumerate(nodes):
        bits = 1 << index
        for source in node.all_input_nodes:
            bits |= above[place[source]]
        above.append(bits)
    sums = sum(1 << place[node] for node in walk.sums)
    convs = [place[node] for node in nodes if node.op == "call_module" and node.target in walk.filters]
    roles: dict[str, str] = {}
    for node in walk.sums:
        operands = list(dict.fromkeys(node.all_input_nodes))
        if len(operands) != 2:
            continue
        one, other = (above[place[operand]] for operand in operands)
        if not one & other:
            continue
        fork = above[(one & other).bit_length() - 1]
        branches = [branch & ~fork for branch in (one, other)]
        if any(branch & sums for branch in branches):
            continue
        inside = [[nodes[i] for i in convs if branch >> i & 1 and _sees_more(nodes[i], node)] for branch in branches]
        shortcut, body = sorted(inside, key=lambda branch: (len(branch), sum(_window(walk, conv) for conv in branch)))
        if not body or len(body) > MAX_CONVS:
            continue
        block = {conv: "shortcut" for conv in shortcut} | {conv: f"conv{n}" for n, conv in enumerate(body, start=1)}
        for conv, role in block.items():
            roles.setdefault(str(conv.target), role)
    return roles


def _sees_more(conv: fx.Node, end: fx.Node) -> bool:
    """Whether a convolution works on whole images rather than on one pixel per channel."""
    return math.prod(shape(conv)[2:]) > 1 or math.prod(shape(end)[2:]) == 1


def _window(walk: Walk, conv: fx.Node) -> int:
    called = walk.called(conv)
    return math.prod(called.kernel_size) if isinstance(called, nn.Conv2d | nn.ConvTranspose2d) else 1
