"""A user's network and data: 8x8 digits as floats, a network trained on them in a second."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from raprune.plugins.datasets.handwriting import handwritten_digits

Pair = tuple[Tensor, Tensor]
FAST: dict[str, Any] = {
    "method": "magnitude", "finetune": {"after_layer": {"steps": 4}}, "guard": 0, "progress": False,
}  # fmt: skip


class SmallNet(nn.Module):
    """Nothing in it is raprune's."""

    def __init__(self, filters: int = 12) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, filters, 3, 2, 1),
            nn.BatchNorm2d(filters),
            nn.ReLU(),
            nn.Conv2d(filters, 2 * filters, 3),
            nn.ReLU(),
        )
        self.head = nn.Linear(2 * filters, 10)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(images).mean((2, 3)))
        return logits


@dataclass(frozen=True)
class User:
    """What a user has."""

    model: SmallNet
    train: Pair
    val: Pair
    test: Pair


def make_user() -> User:
    images_NHW, labels_N = handwritten_digits()
    images, labels = torch.tensor(images_NHW, dtype=torch.float32)[:, None] / 8 - 1, torch.tensor(labels_N)
    train, val, test = ((images[at], labels[at]) for at in (slice(0, 900), slice(900, 1300), slice(1300, None)))
    torch.manual_seed(0)
    model = SmallNet()
    optimiser = torch.optim.SGD(model.parameters(), 0.1, 0.9)
    for _ in range(6):
        for some in torch.randperm(900).split(50):
            optimiser.zero_grad()
            F.cross_entropy(model(train[0][some]), train[1][some]).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    return User(model, train, val, test)
