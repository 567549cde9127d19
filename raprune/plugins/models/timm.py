"""The networks of timm (pytorch-image-models), by their name there, with as many outputs as the data set has classes.

Source: Wightman, PyTorch Image Models, https://github.com/huggingface/pytorch-image-models. timm is an optional package
(the extra ``timm``). Nothing is downloaded unless ``pretrained`` says so.
"""

from __future__ import annotations

import importlib.util
from http.client import HTTPException
from typing import Annotated, Any

from torch import nn

from raprune.errors import InputError, first_line
from raprune.plugins.models.pretrained import PublishedSettings, check_takes, load_all_but_head
from raprune.registry import MODELS
from raprune.study.library_names import RegisteredIn

NETWORK = RegisteredIn("timm has no network", "timm.models")


class TimmSettings(PublishedSettings):
    network: Annotated[str, NETWORK]
    """timm's name of the network, such as ``resnet18`` or ``mobilenetv3_small_050``; ``timm.list_models()`` has all."""

    def problems(self) -> list[tuple[str, str]]:
        if importlib.util.find_spec("timm") is None:
            return [("name", "needs the package timm, which is not installed; pip install 'raprune[timm]' brings it")]
        import timm

        problems = super().problems()
        if not timm.is_model(self.network):
            problems.append(("network", NETWORK.said(self.network, timm.list_models())))
        return problems


@MODELS.register("timm", TimmSettings)
def build(settings: TimmSettings, *, num_classes: int, input_shape: tuple[int, int, int]) -> nn.Module:
    """A network of timm (pytorch-image-models) by its name there."""
    for _, problem in settings.problems():
        raise ValueError(problem)
    import timm

    download = settings.source == "download"
    try:
        network: nn.Module = timm.create_model(
            settings.network, pretrained=download, num_classes=num_classes, in_chans=input_shape[0]
        )
    except (OSError, HTTPException, RuntimeError) as error:  # no weights of that name, no network, half a file
        way = "; give a path: --set model.pretrained=PATH" if download else ""
        raise InputError(f"model timm: {settings.network} cannot be built: {first_line(error)}{way}") from None
    if settings.source not in ("none", "download"):
        load_all_but_head(network, settings.source, settings.network, _classifiers(network))
    check_takes(network, settings.network, input_shape)
    return network


def _classifiers(network: Any) -> tuple[str, ...]:
    """The layers whose size follows the number of classes, as timm says."""
    said = network.pretrained_cfg.get("classifier") or ()
    return (said,) if isinstance(said, str) else tuple(said)
