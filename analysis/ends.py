"""The layers as a trial's joint passes left them: ``layers`` has each as it was decided, before them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import pandas as pd

from raprune.results import Tables


def layers_at_end(tables: Tables) -> pd.DataFrame:
    """``tables.layers`` with num_kept, pruning_ratio and keep_mask of the end of each trial.

    Results before version 12 do not say where a layer begins in a pass's mask. Where their trials decided only some of
    the network's layers, the rows stay as they were decided.
    """
    layers, last = tables.layers, tables.joint.drop_duplicates("trial_id", keep="last")
    if last.empty:
        return layers
    own = {name: part for name, part in layers.groupby("trial_id", sort=False)}
    ends = {
        place: mask
        for row in last.to_dict("records")
        if row["trial_id"] in own
        for place, mask in _masks(row, own[row["trial_id"]])
    }
    masks = pd.Series([ends.get(place, mask) for place, mask in layers["keep_mask"].items()], layers.index, object)
    kept = masks.map(np.sum).astype("int64")
    return layers.assign(keep_mask=masks, num_kept=kept, pruning_ratio=1 - kept / layers["num_filters"])


def _masks(joint: Mapping[Any, Any], layers: pd.DataFrame) -> Iterator[tuple[Any, np.ndarray]]:
    """Index and final mask of each of one trial's ``layers``; nothing where they cannot be told apart."""
    sizes: Sequence[int] = joint["layer_sizes"]
    if not isinstance(sizes, list | np.ndarray):
        sizes = layers.sort_values("layer_index")["num_filters"].tolist()
    flags = np.asarray(joint["keep_mask"], dtype=bool)
    if sum(sizes) != len(flags):
        return
    parts = [flags[start:end] for start, end in pairwise(accumulate(map(int, sizes), initial=0))]
    for place, index, number in layers[["layer_index", "num_filters"]].itertuples():
        if index < len(parts) and len(parts[index]) == number:
            yield place, parts[index]
