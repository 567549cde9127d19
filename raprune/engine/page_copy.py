"""A small copy of a network that runs in the report's page, where a person draws into it: weights on a coarse grid.

A copy is plain data (JSON), of networks that are chains of known operations, classify small images of 8 bits, and are
small enough to travel in a page. The grid is the coarsest that hardly moves what it says of validation images. Then the
copy's right answers are counted on test images: they are no result of the study, and nothing is chosen by them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from raprune.engine.base import Engine
from raprune.network.chain import Chain, Step, chain_of, network_of, steps_of
from raprune.network.measure import count_macs, count_params
from raprune.network.state import State
from raprune.plugins.datasets.base import Split, Splits

MAX_PARAMS = 300_000
MAX_MACS = 10_000_000
"""For one image: a browser then needs some tens of milliseconds."""
MAX_SIDE = 64
"""Pixels of an image's side."""
MAX_CLASSES = 100
MAX_IMAGES = 500
"""Test images that answers are counted on."""
GRID_IMAGES = 200
"""Validation images that choose the grid."""
GRIDS = (3, 5, 7, 11, 15, 23, 31)
"""Largest whole numbers of grids, the coarsest first."""
MAX_MOVED = 0.015
"""Largest part of an image's probabilities (softmax) that rounding may move from class to class, on average."""
MAX_MOVED_FINEST = 0.05
"""The same for the finest grid: a network that it moves further has no copy."""
MAX_MOVED_UNROUNDED = 1e-4
"""The same before weights are rounded: more shows that the chain is not the network."""
NUM_EXAMPLES, NUM_WRONG = 16, 4


@torch.inference_mode()
def page_copy(engine: Engine, state: State) -> dict[str, Any] | None:
    """The copy of ``state``'s network; ``None`` where it cannot have one."""
    splits = engine.splits
    network = engine.built(state).network
    if not _are_small_pictures(splits) or count_params(network) > MAX_PARAMS:
        return None
    chain = chain_of(network)
    if chain is None or count_macs(network, splits.input_shape) > MAX_MACS:
        return None
    forward = engine.forward(state)

    def logits(raw_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """The network's own, and its input."""
        inputs_BCHW = engine.as_input(raw_BCHW)
        return forward(inputs_BCHW.clone()).float().cpu(), inputs_BCHW.float().cpu()

    steps = _coarsest(chain, *logits(splits.val.images_BCHW[:GRID_IMAGES]))
    if steps is None:
        return None
    name, split = ("val", splits.val) if splits.test is None else ("test", splits.test)
    split = Split(split.images_BCHW[:MAX_IMAGES], split.labels_B[:MAX_IMAGES].cpu())
    own_BK, inputs_BCHW = logits(split.images_BCHW)
    right_B, own_right_B = (
        answers_BK.argmax(1) == split.labels_B for answers_BK in (network_of(steps)(inputs_BCHW), own_BK)
    )
    counts = {"num_images": len(split), "num_right": int(right_B.sum()), "num_right_unrounded": int(own_right_B.sum())}
    wrong = (~right_B).nonzero()[:NUM_WRONG, 0].tolist()
    return {
        "input_shape": list(splits.input_shape),
        "mean": list(splits.mean),
        "std": list(splits.std),
        "class_names": list(splits.class_names) or [str(number) for number in range(splits.num_classes)],
        "drawn": None if splits.drawn is None else asdict(splits.drawn),
        "steps": [_with_filters(step, state, _num_filters(engine)) for step in steps],
        "split": name,
        **counts,
        "examples": [_example(split, place) for place in _one_of_each(split.labels_B)],
        "wrong": [_example(split, place) for place in wrong],
    }


def _are_small_pictures(splits: Splits) -> bool:
    """Whether the images can be shown and drawn: small, of 8 bits, grey or red, green and blue, of one class each."""
    channels, height, width = splits.input_shape
    small = channels in (1, 3) and max(height, width) <= MAX_SIDE and 2 <= splits.num_classes <= MAX_CLASSES
    return small and splits.train.kind == "image" and not splits.normalised


def _num_filters(engine: Engine) -> Mapping[str, int]:
    """Convolution -> its filters before pruning."""
    return {layer: group.num_filters for layer, group in engine.graph.groups.items()}


def _coarsest(chain: Chain, own_BK: Tensor, inputs_BCHW: Tensor) -> Sequence[Step] | None:
    """The steps of the coarsest grid whose answers are near enough to the network's own."""

    def moved(run: nn.Module) -> float:
        found_BK = run(inputs_BCHW.clone())
        if found_BK.shape != own_BK.shape:
            return float("inf")
        return float((found_BK.softmax(1) - own_BK.softmax(1)).abs().sum(1).mean()) / 2

    if not moved(nn.Sequential(*(module for _, module in chain))) <= MAX_MOVED_UNROUNDED:
        return None
    for largest in GRIDS:
        steps = steps_of(chain, largest)
        if moved(network_of(steps)) <= (MAX_MOVED_FINEST if largest == GRIDS[-1] else MAX_MOVED):
            return steps
    return None


def _with_filters(step: Step, state: State, num_filters: Mapping[str, int]) -> Step:
    """A convolution's step with its filters before pruning, and which of them are left."""
    if step["op"] != "conv":
        return step
    number, cut = num_filters.get(step["layer"], step["shape"][0]), state.cuts.get(step["layer"])
    kept = range(number) if cut is None else [place for place, flag in enumerate(cut.flags) if flag]
    return {**step, "num_filters": number, "kept": list(kept)}


def _one_of_each(labels_B: Tensor) -> Sequence[int]:
    """Places of the first image of each class, then of the second, up to a few images, by class."""
    seen: dict[int, int] = {}
    ranked = []
    for place, label in enumerate(labels_B.tolist()):
        seen[label] = seen.get(label, 0) + 1
        ranked.append((seen[label], label, place))
    first = sorted(ranked)[:NUM_EXAMPLES]
    return [place for _, _, place in sorted(first, key=lambda found: found[1:])]


def _example(split: Split, place: int) -> dict[str, Any]:
    pixels = split.images_BCHW[place].flatten().tolist()
    return {"index": place, "label": int(split.labels_B[place]), "pixels": pixels}
