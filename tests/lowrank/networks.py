"""Layers of every geometry that a scheme meets, and a network around them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from raprune.network.graph import Traced, trace
from raprune.network.lowrank import Decomposition, collect, scheme_of

CONVS = {
    "1x1": nn.Conv2d(6, 9, 1),
    "1x1 strided without bias": nn.Conv2d(6, 4, 1, stride=2, bias=False),
    "3x3": nn.Conv2d(4, 7, 3, padding=1),
    "3x3 without bias": nn.Conv2d(4, 7, 3, padding=1, bias=False),
    "strided": nn.Conv2d(5, 6, 3, stride=(2, 1), padding=(1, 0)),
    "dilated": nn.Conv2d(5, 6, 3, padding=(2, 1), dilation=(2, 1)),
    "oblong": nn.Conv2d(3, 8, (5, 2), stride=(1, 3), padding=(2, 1)),
    "same, even kernel": nn.Conv2d(4, 5, (2, 4), padding="same"),
    "valid": nn.Conv2d(4, 5, 3, padding="valid"),
    "reflected": nn.Conv2d(4, 5, 3, padding=(1, 2), padding_mode="reflect"),
    "circular": nn.Conv2d(4, 5, 3, padding=1, padding_mode="circular"),
    "like a fully connected layer": nn.Conv2d(3, 12, 7),
    "one filter": nn.Conv2d(4, 1, 3),
}
LINEARS = {
    "linear": nn.Linear(10, 6),
    "widening": nn.Linear(5, 12),
    "linear without bias": nn.Linear(8, 8, bias=False),
}


class Around(nn.Module):
    """One layer, called ``layer``, with something to trace before and behind it."""

    def __init__(self, layer: nn.Module, first: nn.Module) -> None:
        super().__init__()
        self.before = first
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """Images to whatever the layer gives."""
        out: Tensor = self.layer(torch.relu(self.before(x)))
        return torch.relu(out)


def around(layer: nn.Conv2d | nn.Linear) -> tuple[Traced, Tensor]:
    """A network in double precision with random weights, and six images."""
    generator = torch.Generator().manual_seed(1)
    if isinstance(layer, nn.Linear):
        network: nn.Module = Around(layer, nn.Sequential(nn.Conv2d(3, layer.in_features, 11), nn.Flatten()))
    else:
        network = Around(layer, nn.Conv2d(3, layer.in_channels, 1))
    network = network.double()
    for parameter in network.parameters():
        with torch.no_grad():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) / 3)
    images = torch.randn(6, 3, 11, 11, generator=generator, dtype=torch.float64)
    return trace(network, (3, 11, 11)), images


def decompose(traced: Traced, scheme: str, images: Tensor) -> Decomposition:
    """The layer's components; of the responses to ``images`` where the scheme wants them."""
    by, layer = scheme_of(scheme), traced.network.get_submodule("layer")
    assert isinstance(layer, nn.Conv2d | nn.Linear)
    responses = collect(traced.network, "layer", images.split(4)) if by.needs_responses else None
    return by.decompose(layer, responses)
