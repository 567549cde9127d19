"""Channels selected by index: slices, chunks and splits of channels, and channel shuffles.

Indices count all channels. Each such node becomes an :class:`Align` module, which selects the same channels, as far as
they are kept, wherever they have moved.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import fx

from raprune.network.graph.units import Ids
from raprune.network.graph.walk import Value, Walk, argument, function_name, shape

Places = npt.NDArray[np.int64]
STEPS = ("view", "reshape", "flatten", "unflatten", "transpose", "permute", "swapaxes", "contiguous", "clone")
"""Operations that a hand-written shuffle consists of."""
MOST_STEPS = 6


def split(walk: Walk, node: fx.Node, ids: Ids) -> Value:
    """Several values from one: split by channels, each has its own; split by positions, each has all channels."""
    source, parts = node.all_input_nodes[0], node.meta["tensor_meta"]
    if not isinstance(parts, tuple | list) or not all(_taken_out(user) for user in node.users):
        raise walk.refuse(node, "it is not known which of its values goes where")
    widths = [part.shape[1] if len(part.shape) == len(shape(source)) else 0 for part in parts]
    if all(width == ids.shape[1] for width in widths) and all(len(p.shape) > 2 for p in parts):
        return (ids,) * len(parts)
    if sum(widths) != ids.shape[1]:
        raise walk.refuse(node, "it splits neither by whole channels nor by positions")
    ends = np.cumsum(widths)
    for user in node.users:
        part = user.args[1]
        assert isinstance(part, int)
        walk.picks[user] = (source, np.arange(ends[part] - widths[part], ends[part]))
    return tuple(np.split(ids, ends[:-1], axis=1))


def _taken_out(user: fx.Node) -> bool:
    return function_name(user.target) == "getitem" and isinstance(user.args[1], int)


def take(walk: Walk, node: fx.Node, index: Any, ids: Ids) -> Value:
    """``x[:, a:b]`` with fixed numbers; ``None`` for anything else."""
    if not isinstance(index, tuple) or len(index) < 2 or index[0] != slice(None) or not isinstance(index[1], slice):
        return None
    parts = (index[1].start, index[1].stop, index[1].step)
    others = all(part == slice(None) for part in index[2:])
    if not others or not all(part is None or isinstance(part, int) for part in parts):
        return None
    places = np.arange(ids.shape[1])[index[1]]
    if not len(places):
        return None
    walk.picks[node] = (node.all_input_nodes[0], places)
    return ids[:, places]


def shuffle(walk: Walk, node: fx.Node, ids: Ids) -> Value:
    """``channel_shuffle`` with a fixed number of groups."""
    called = walk.called(node)
    groups = argument(node, 1, "groups") if called is None else getattr(called, "groups", None)
    if not isinstance(groups, int) or ids.shape[1] % groups:
        raise walk.refuse(node, "it shuffles channels in an unknown way")
    walk.picks[node] = (node.all_input_nodes[0], np.arange(ids.shape[1]).reshape(groups, -1).T.flatten())
    return ids[:, walk.picks[node][1]]


def look_ahead(walk: Walk, node: fx.Node) -> None:
    """If ``node`` starts a chain of reshapes that only moves channels, record the result at its last node."""
    source = node.all_input_nodes[0] if node.all_input_nodes else None
    ids = None if source is None else walk.values.get(source)
    if source is None or not isinstance(ids, np.ndarray) or len(shape(source)) != 4 or not _is_step(node):
        return
    numbers = torch.arange(shape(source)[1])[None, :, None, None] * 10_000 + torch.arange(4).view(1, 1, 2, 2)
    example = numbers.expand(2, -1, -1, -1).clone()
    chain, value = [node], _step(node, source, example)
    while value is not None and len(chain) < MOST_STEPS:
        users = list(chain[-1].users)
        if len(users) != 1 or not _is_step(users[0]) or users[0].all_input_nodes[0] is not chain[-1]:
            return
        value = _step(users[0], chain[-1], value)
        chain.append(users[0])
        if value is not None and value.shape == example.shape:
            places = value[0, :, 0, 0] // 10_000
            if torch.equal(value, example[:, places]) and not torch.equal(value, example):
                walk.picks[chain[-1]] = (source, places.numpy())
                walk.ahead |= {**dict.fromkeys(chain[:-1]), chain[-1]: ids[:, places.numpy()]}
            return


def _is_step(node: fx.Node) -> bool:
    known = node.op != "call_module" and function_name(node.target) in STEPS
    return known and hasattr(node.meta.get("tensor_meta"), "shape")


def _step(node: fx.Node, source: fx.Node, value: torch.Tensor) -> torch.Tensor | None:
    """The result of a step on ``value``, which has 2x2 positions; ``None`` if it cannot be determined."""
    name, after = function_name(node.target), shape(node)
    if name in ("contiguous", "clone"):
        return value
    if name in ("transpose", "permute", "swapaxes"):
        dims: list[Any] = list(node.args[1]) if isinstance(node.args[1], list | tuple) else list(node.args[1:])
        if not all(isinstance(dim, int) for dim in dims) or (name != "permute" and len(dims) != 2):
            return None
        return value.permute(dims) if name == "permute" else value.transpose(*dims)
    positions = shape(source)[-2:]
    if after[-2:] != positions or tuple(value.shape[-2:]) != (2, 2):  # a reshape that mixes positions
        return None
    return value.reshape(*after[:-2], 2, 2)
