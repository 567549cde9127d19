"""The rules of operations that move channels or positions: flatten, concatenation, padding, slices, pixel shuffle."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import fx, nn

from raprune.network.graph.picking import take
from raprune.network.graph.units import ZERO, Ids, beside
from raprune.network.graph.walk import Value, Walk, argument, function_name, shape


def reshape(walk: Walk, node: fx.Node, ids: Ids) -> Value:
    """Channels stay in dimension 1; after a flatten, each has one entry per position."""
    before, after = shape(node.all_input_nodes[0]), shape(node)
    if function_name(node.target) == "squeeze" and len(node.args) < 2 and "dim" not in node.kwargs:
        raise walk.refuse(node, "without a dimension it also removes that of a single image or a single channel")
    if function_name(node.target) in ("view", "reshape") and _named(node, 1) not in (None, -1):
        raise walk.refuse(node, "it has a fixed number of channels")
    if len(after) < 2 or before[0] != after[0]:
        raise walk.refuse(node, f"it turns {before} into {after}, which does not keep the images in dimension 0")
    positions, rest = math.prod(before[2:]), math.prod(after[2:])
    if after[1] == before[1] and positions == rest:
        return ids
    if after[1] == before[1] * positions and rest == 1:
        return ids.repeat(positions, 1)
    raise walk.refuse(node, f"it turns {before} into {after}, which mixes channels and positions")


def _named(node: fx.Node, dim: int) -> int | None:
    """The size of a dimension that a reshape gives as a fixed number; ``None`` otherwise."""
    sizes = node.args[1] if len(node.args) > 1 and isinstance(node.args[1], list | tuple) else node.args[1:]
    size = sizes[dim] if len(sizes) > dim else None
    return size if isinstance(size, int) else None


def pool_away(walk: Walk, node: fx.Node, ids: Ids) -> Value:
    """A mean, sum or maximum over positions."""
    given = argument(node, 1, "dim")
    dims = given if isinstance(given, list | tuple) else (given,)
    size = len(shape(node.all_input_nodes[0]))
    if any(not isinstance(dim, int) or dim % size < 2 for dim in dims):
        raise walk.refuse(node, "it runs over channels or images, not only over positions")
    return ids


def cat(walk: Walk, node: fx.Node, ids: Ids) -> Value:
    """In dimension 1, channels side by side; in another, values that must have the same channels."""
    given = argument(node, 0, "tensors")
    if not isinstance(given, list | tuple):
        raise walk.refuse(node, "the values that it joins are not listed one by one")
    parts = [part for part in given if isinstance(part, fx.Node)]
    if argument(node, 1, "dim", "axis", default=0) % len(shape(parts[0])) == 1:
        return beside([walk.ids_or_whole(part) for part in parts])
    for part in parts[1:]:
        walk.units.tie(walk.ids(parts[0]), walk.ids(part), f"{node.name} joins it with channels that stay")
    return walk.ids(parts[0])


def item(walk: Walk, node: fx.Node, ids: Value) -> Value:
    """One of several values, positions of one value, or channels of one value."""
    if isinstance(ids, tuple):
        index = node.args[1]
        assert isinstance(index, int)
        return ids[index]
    index = _spelled_out(argument(node, 1), len(shape(node.all_input_nodes[0])))
    if isinstance(index, tuple) and len(index) > 1 and index[0] == slice(None) and isinstance(index[1], slice):
        from_first = index[1].start in (None, 0) and index[1].step in (None, 1)
        reaches = index[1].stop is None or (isinstance(index[1].stop, int) and index[1].stop >= ids.shape[1])
        if from_first and reaches and shape(node)[:2] == shape(node.all_input_nodes[0])[:2]:
            return ids
    taken = take(walk, node, index, ids)
    if taken is None:
        walk.fix(node.all_input_nodes[0], f"{node.name} selects some of its channels by index")
    return taken


def _spelled_out(index: Any, rank: int) -> Any:
    """``x[..., ::2]`` as ``x[:, :, :, ::2]``."""
    if isinstance(index, tuple) and Ellipsis in index:
        at = index.index(Ellipsis)
        return (*index[:at], *(slice(None),) * (rank + 1 - len(index)), *index[at + 1 :])
    return index


def pad(walk: Walk, node: fx.Node, ids: Ids) -> Value:
    """Positions are padded per channel; padded channels are zeros beside the others."""
    given = argument(node, 1, "pad")
    widths: list[Any] = list(given) if isinstance(given, list | tuple) else [None]
    size = len(shape(node.all_input_nodes[0]))
    if len(widths) <= 2 * (size - 2):
        return ids
    if size != 4:
        raise walk.refuse(node, "it pads channels that have no positions")
    mode, value = argument(node, 2, "mode", default="constant"), argument(node, 3, "value")
    if any(not isinstance(w, int) for w in widths) or any(widths[6:]) or value or mode != "constant":
        raise walk.refuse(node, "channels can only be padded with zeros, and by fixed numbers")
    before, behind = widths[4], widths[5]
    if min(before, behind) < 0:
        raise walk.refuse(node, "it crops channels")
    walk.pads.append((node, before, behind))
    zeros = [np.full((1, n), ZERO) for n in (before, behind)]
    return beside([zeros[0], ids, zeros[1]])


def pixel_shuffle(walk: Walk, node: fx.Node, ids: Ids) -> Value:
    """r * r channels become one with r times as many rows and columns, so they are pruned together."""
    area = _factor(walk, node) ** 2
    runs = ids.reshape(len(ids), -1, area)
    walk.units.tie_columns([runs[:, :, i] for i in range(area)], f"{node.name} makes one channel from several")
    return runs[:, :, 0]


def pixel_unshuffle(walk: Walk, node: fx.Node, ids: Ids) -> Value:
    """One channel becomes r * r."""
    return ids.repeat(_factor(walk, node) ** 2, 1)


def _factor(walk: Walk, node: fx.Node) -> int:
    called = walk.called(node)
    if isinstance(called, nn.PixelShuffle):
        return int(called.upscale_factor)
    if isinstance(called, nn.PixelUnshuffle):
        return int(called.downscale_factor)
    given = argument(node, 1, "upscale_factor", "downscale_factor")
    assert isinstance(given, int)
    return given
