"""The classification networks of torchvision, by their name there, with as many outputs as the data set has classes.

Source: https://docs.pytorch.org/vision/stable/models.html. Nothing is downloaded unless ``pretrained`` says so.
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from torch import nn

from raprune.plugins.models.pretrained import PublishedSettings, check_takes, load_all_but_head
from raprune.registry import MODELS
from raprune.study.library_names import RegisteredIn

NETWORK = RegisteredIn("torchvision has no classification network", "torchvision.models")


class TorchvisionSettings(PublishedSettings):
    network: Annotated[str, NETWORK]
    """torchvision's name of the network, such as ``resnet50`` or ``mobilenet_v3_small``."""

    def problems(self) -> list[tuple[str, str]]:
        from torchvision import models

        problems, known = super().problems(), models.list_models(module=models)
        if self.network not in known:
            problems.append(("network", NETWORK.said(self.network, known)))
        return problems


@MODELS.register("torchvision", TorchvisionSettings)
def build(settings: TorchvisionSettings, *, num_classes: int, input_shape: tuple[int, int, int]) -> nn.Module:
    """A classification network of torchvision by its name there."""
    for _, problem in settings.problems():
        raise ValueError(problem)
    network = _made(settings.network, num_classes)
    if settings.source != "none":
        with torch.random.fork_rng(devices=[]):
            other = _made(settings.network, num_classes + 1)
        head = tuple(
            name.rpartition(".")[0]
            for (name, tensor), theirs in zip(network.state_dict().items(), other.state_dict().values(), strict=True)
            if tensor.shape != theirs.shape
        )
        load_all_but_head(network, settings.source, settings.network, head)
    check_takes(network, settings.network, input_shape)
    return network


def _made(name: str, num_classes: int) -> nn.Module:
    from torchvision.models import get_model

    more: dict[str, Any] = {}
    if name in ("googlenet", "inception_v3"):
        more = {"aux_logits": False, "init_weights": True}  # heads that only their training has
    network: nn.Module = get_model(name, weights=None, num_classes=num_classes, **more)
    return network
