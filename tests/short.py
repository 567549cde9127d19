"""A short VGG for the studies of tests: the layers of VGG-16 that they prune, under their names, and none between them.

A study with it takes half of the time that it takes with all of VGG-16.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

IMPORT = "tests.short:Short"
WIDTHS = {0: 4, 10: 8, 37: 32, 40: 32}
"""``features.N`` -> its filters, those of VGG-16 at width 0.0625."""


class Short(nn.Module):
    """For grey images of 32x32: four convolutions with norms and pools, then two linear layers."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        channels = 1
        for place, filters in WIDTHS.items():
            parts[str(place)] = nn.Conv2d(channels, filters, 3, stride=1 if place else 2, padding=1)
            parts[str(place + 1)] = nn.BatchNorm2d(filters)
            parts[str(place + 2)] = nn.ReLU(True)
            if place:
                parts[f"pool{place}"] = nn.MaxPool2d(4 if place == 40 else 2)
            channels = filters
        self.features, self.flatten = nn.Sequential(parts), nn.Flatten()
        self.classifier = nn.Sequential(nn.Linear(32, 32), nn.ReLU(True), nn.Linear(32, num_classes))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.flatten(self.features(images)))
        return logits
