"""torchvision's networks by name, with a last layer of their own where the weights are of other classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models import get_model

from raprune.network.weights import save_safetensors
from raprune.plugins.models.torchvision import TorchvisionSettings
from raprune.registry import MODELS

SMALL = "mnasnet0_5"


def build(network: str = SMALL, shape: tuple[int, int, int] = (3, 32, 32), **settings: Any) -> nn.Module:
    torch.manual_seed(0)
    made: nn.Module = MODELS.build("torchvision", {"network": network, **settings}, num_classes=7, input_shape=shape)
    return made


@pytest.mark.parametrize("how", ["path", "download"])
def test_pretrained_weights_for_other_classes_leave_the_last_layer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    theirs = get_model(SMALL, weights=None, num_classes=9).state_dict()
    save_safetensors(theirs, tmp_path / "nine.safetensors")
    monkeypatch.setattr("torchvision.models._api.WeightsEnum.get_state_dict", lambda *_, **__: dict(theirs))
    fresh = build().state_dict()
    started = build(pretrained=str(tmp_path / "nine.safetensors") if how == "path" else True).state_dict()
    for name, tensor in started.items():
        assert torch.equal(tensor, (fresh if name.startswith("classifier.1.") else theirs)[name]), name


def test_weights_of_as_many_classes_are_loaded_whole(tmp_path: Path) -> None:
    theirs = get_model(SMALL, weights=None, num_classes=7).state_dict()
    save_safetensors(theirs, tmp_path / "seven.safetensors")
    started = build(pretrained=str(tmp_path / "seven.safetensors")).state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in started.items())


def test_what_cannot_be_had_is_told_by_the_settings(tmp_path: Path) -> None:
    def problems(**settings: Any) -> list[tuple[str, str]]:
        return TorchvisionSettings.model_validate({"network": SMALL, **settings}).problems()

    assert problems() == problems(pretrained=True) == []
    [(key, message)] = problems(network="resnet-50")
    assert key == "network"
    assert message.startswith("torchvision has no classification network 'resnet-50'; did you mean 'resnet50'? (known:")
    [(key, message)] = problems(network="fasterrcnn_resnet50_fpn", pretrained=True)
    assert message.startswith("torchvision has no classification network 'fasterrcnn_resnet50_fpn'")
    assert len(problems(network="x", pretrained=str(tmp_path / "no.pth"))) == 2


def test_grey_images_are_told() -> None:
    with pytest.raises(ValueError, match="mnasnet0_5 does not take images of 32x32 with 1 channel: "):
        build(shape=(1, 32, 32))
