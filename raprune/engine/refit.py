"""Refits the layers that read a cut layer, so that they answer to the filters kept as they did to all of them.

Source: He, Zhang, Sun, *Channel Pruning for Accelerating Very Deep Neural Networks*, arXiv 1707.06168, section 3.1, the
least-squares step. Departure: a small ridge holds the weights where they are, as samples may be fewer than weights.
Grouped and transposed convolutions, layers that run more than once, and residual sums stay as they are.

Legend: S samples, C channels read, K the window, D = kept channels times K, O outputs.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import torch
from torch import Tensor, fx, nn

from raprune.engine.base import Engine
from raprune.engine.contributions import windows
from raprune.engine.places import Owners, Places, values_of
from raprune.network.masks import KeepMask
from raprune.network.state import State
from raprune.plugins.methods.base import LeastSquares
from raprune.study.seeds import seed_for

RIDGE = 1e-3
"""Added to the diagonal of the normal equations, relative to its mean."""


class _Reader:
    """One layer that reads the cut one, and its normal equations."""

    def __init__(self, module: nn.Conv2d | nn.Linear, owners: Owners, mask: KeepMask) -> None:
        self.module = module
        pruned = np.asarray([owner >= 0 and not mask.flags[owner] for owner in owners])
        self.kept_C = torch.from_numpy(~pruned)
        self.products_DD = torch.zeros(())
        self.missing_DO = torch.zeros(())

    def add(self, value: Tensor, per_image: int, rng: torch.Generator) -> None:
        """Add sampled windows of a batch, with the responses that go with the pruned channels."""
        windows_SCK = value[:, :, None]
        if isinstance(self.module, nn.Conv2d):
            windows_SCK = windows(self.module, value, per_image, rng).flatten(2)
        weight_OCK = self.module.weight.flatten(2) if self.module.weight.dim() > 2 else self.module.weight[:, :, None]
        windows_SCK, weight_OCK = windows_SCK.double().cpu(), weight_OCK.double().cpu()
        missing_SO = windows_SCK[:, ~self.kept_C].flatten(1) @ weight_OCK[:, ~self.kept_C].flatten(1).T
        kept_SD = windows_SCK[:, self.kept_C].flatten(1)
        self.products_DD = self.products_DD + kept_SD.T @ kept_SD
        self.missing_DO = self.missing_DO + kept_SD.T @ missing_SO

    def change(self, weight: Tensor) -> Tensor:
        """What to add to the cut layer's ``weight``, in its shape."""
        diagonal = RIDGE * self.products_DD.diagonal().mean().clamp(min=1e-30)
        ridge_DD = self.products_DD + diagonal * torch.eye(len(self.products_DD), dtype=torch.float64)
        change_DO: Tensor = torch.linalg.solve(ridge_DD, self.missing_DO)
        return change_DO.T.reshape(weight.shape).to(weight.dtype)


@torch.no_grad()
def refitted(engine: Engine, state: State, layer: str, mask: KeepMask, on: LeastSquares) -> State:
    """``state`` with ``layer`` cut to ``mask``, and the layers that read it refitted to training images."""
    cut = state.cut(engine.graph, layer, mask)
    network = engine.build(state)
    assert isinstance(network, fx.GraphModule)
    places = Places(network, engine.graph, engine.graph.group(layer), engine.graph.kept(state.keep_masks()))
    runs = Counter(str(node.target) for node in network.graph.nodes if node.op == "call_module")
    readers: dict[str, tuple[fx.Node, _Reader]] = {}
    for node, source, owners in places.read:
        module = network.get_submodule(str(node.target)) if node.op == "call_module" else None
        plain = isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1)
        if plain and runs[str(node.target)] == 1:
            readers[str(node.target)] = source, _Reader(module, owners, mask)  # type: ignore[arg-type]
    program = values_of(network, [source for source, _ in readers.values()])
    rng = torch.Generator().manual_seed(seed_for(engine.workload.data_seed, "refit"))
    for images, _ in engine.train_sample(on.num_images, "criterion"):
        for value, (_, reader) in zip(program(images), readers.values(), strict=True):
            reader.add(value, on.samples_per_image, rng)
    tensors = cut.tensors(engine.graph, engine.weights)
    for name, (_, reader) in readers.items():
        weight = tensors[f"{name}.weight"]
        tensors[f"{name}.weight"] = weight + reader.change(weight)
    return cut.trained(tensors) if readers else cut
