"""What the ``layers`` table tells of each filter: its norm, its place in the ranking, and what was learned about it.

Legend: N filters, M weights per filter.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from raprune.network.graph import Group
from raprune.plugins.methods.base import LayerView, Ranking

MOST_DRAWN = 20_000
"""Numbers of the first layer's filters that are kept to be drawn; larger layers are not."""
CHANNELS_DRAWN = (1, 3)
"""Grey, or red, green and blue."""


def filter_columns(group: Group, index: int, view: LayerView, weight: Tensor, ranking: Ranking) -> dict[str, Any]:
    """The columns of a layer with a value for each filter; ``weight`` is that of its first convolution."""
    dim = next(member.dim for member in group.members if member.layer == group.layer)
    weight_NCKK = weight.transpose(0, dim)
    drawn = index == 0 and weight_NCKK.shape[1] in CHANNELS_DRAWN and len(weight_NCKK) == view.num_filters
    places = torch.tensor(ranking.order).argsort() if ranking.order else None
    return {
        "filter_shape": list(weight_NCKK.shape[1:]),
        "filter_norms": _finite(view.weights_NM.double().abs().sum(1)),
        "filter_places": None if places is None else places.tolist(),
        "keep_probs": None if ranking.keep_probs is None else _finite(ranking.keep_probs),
        "filter_weights": _finite(weight_NCKK.flatten()) if drawn and weight.numel() <= MOST_DRAWN else None,
    }


def _finite(values: Tensor) -> list[float] | None:
    """Values as the table holds them; ``None`` where one is NaN or infinite."""
    values = values.detach().float()
    return values.tolist() if bool(values.isfinite().all()) else None
