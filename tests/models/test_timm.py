"""timm's networks by name, from their own checkpoints, and what is said where one cannot be had."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from raprune.errors import InputError
from raprune.network.weights import load_checkpoint, save_safetensors
from raprune.plugins.models.timm import TimmSettings
from raprune.registry import MODELS

SMALL = "test_resnet"


@pytest.fixture(scope="module", autouse=True)
def timm() -> Any:
    """Not imported by every process that collects tests: that takes seconds."""
    return pytest.importorskip("timm", reason="timm is not installed: pip install 'raprune[timm]'")


def build(num_classes: int = 7, channels: int = 3, seed: int = 0, **settings: Any) -> nn.Module:
    torch.manual_seed(seed)
    network: nn.Module = MODELS.build(
        "timm", {"network": SMALL, **settings}, num_classes=num_classes, input_shape=(channels, 32, 32)
    )
    return network


def test_it_is_timms_network(timm: Any) -> None:
    torch.manual_seed(0)
    theirs = timm.create_model(SMALL, num_classes=7, in_chans=1)
    ours = build(channels=1)
    assert ours.training
    assert type(ours) is type(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert all(torch.equal(one, other) for one, other in zip(ours.parameters(), theirs.parameters(), strict=True))


@pytest.mark.parametrize("name", ["model.safetensors", "checkpoint.pth.tar"])
def test_a_checkpoint_of_timm_is_one_here(timm: Any, tmp_path: Path, name: str) -> None:
    """The hub's safetensors, and what timm's train.py writes."""
    theirs, file = timm.create_model(SMALL, num_classes=7), tmp_path / name
    if name == "model.safetensors":
        save_safetensors(theirs.state_dict(), file)
    else:
        torch.save({"arch": SMALL, "state_dict": theirs.state_dict(), "args": argparse.Namespace(lr=0.1)}, file)
    ours = build(seed=1)
    assert load_checkpoint(ours, file) == []
    assert all(torch.equal(one, other) for one, other in zip(ours.parameters(), theirs.parameters(), strict=True))
    started = build(seed=1, pretrained=str(file))
    assert all(torch.equal(one, other) for one, other in zip(started.parameters(), theirs.parameters(), strict=True))


def test_pretrained_weights_for_other_classes_leave_the_classifier(timm: Any, tmp_path: Path) -> None:
    save_safetensors(timm.create_model(SMALL, num_classes=9).state_dict(), tmp_path / "nine.safetensors")
    fresh, started = build(), build(pretrained=str(tmp_path / "nine.safetensors"))
    changed = [
        name
        for (name, one), other in zip(fresh.named_parameters(), started.parameters(), strict=True)
        if one.dim() > 1 and not torch.equal(one, other)
    ]
    assert len(changed) == sum(tensor.dim() > 1 for tensor in fresh.parameters()) - 1
    assert torch.equal(fresh.fc.weight, started.fc.weight)  # type: ignore[union-attr,arg-type]
    with pytest.raises(InputError, match=r"pretrained test_resnet .* does not fit the network:\n  conv1\.0\.weight"):
        build(channels=1, pretrained=str(tmp_path / "nine.safetensors"))


def problems(**settings: Any) -> list[tuple[str, str]]:
    return TimmSettings.model_validate({"network": SMALL, **settings}).problems()


def test_what_cannot_be_had_is_told_by_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert problems() == problems(pretrained=False) == problems(pretrained="download") == []
    [(key, message)] = problems(network="resnet-18")
    assert key == "network"
    assert message.startswith("timm has no network 'resnet-18'; did you mean 'resnet18'? (known: resnet18, ")
    [(key, message)] = problems(network="hf-hub:somebody/network")
    assert message.startswith("timm has no network 'hf-hub:somebody/network'")
    [(key, message)] = problems(pretrained=str(tmp_path / "none.pth"))
    assert key == "pretrained"
    assert message.endswith(f"no such file: {str(tmp_path / 'none.pth')!r}")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    [(key, message)] = problems()
    assert (key, message) == (
        "name", "needs the package timm, which is not installed; pip install 'raprune[timm]' brings it"
    )  # fmt: skip


def test_weights_that_cannot_be_downloaded_are_a_sentence(timm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args: Any, **kwargs: Any) -> nn.Module:
        assert kwargs["pretrained"]
        raise OSError("no route to the hub\nand a long explanation")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(InputError) as caught:
        build(pretrained=True)
    assert str(caught.value) == (
        "model timm: test_resnet cannot be built: no route to the hub; give a path: --set model.pretrained=PATH"
    )


def test_images_that_are_too_small_are_told() -> None:
    with pytest.raises(ValueError, match="test_vit does not take images of 8x8"):
        MODELS.build("timm", {"network": "test_vit"}, num_classes=3, input_shape=(3, 8, 8))
