"""Every network: takes the images it says, can be traced, is a pure function in eval mode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from raprune.network.graph import trace
from raprune.network.measure import count_macs, count_params
from raprune.registry import MODELS, Plugin

SMALL: dict[str, dict[str, Any]] = {
    "timm": {"network": "test_resnet"},
    "torchvision": {"network": "mnasnet0_5"},
    "torchvision_detection": {"network": "ssdlite320_mobilenet_v3_large"},
}
"""Model -> settings that make it small, where it has no ``width``."""
COLOUR_ONLY = {"torchvision", "torchvision_detection"}
"""Models whose networks take images of three channels."""
A_PIXEL = {"fcn32s", "segnet"}
"""Models with one output a pixel."""
FOR_BOXES = {"small_ssd", "torchvision_detection"}
"""Models with one row an anchor: four numbers, the anchor and the logits."""
SHAPES = {"grey": (1, 32, 32), "colour": (3, 32, 32)}

every = pytest.mark.parametrize("plugin", [pytest.param(plugin, id=plugin.name) for plugin in MODELS])
every_shape = pytest.mark.parametrize(
    ("plugin", "shape"),
    [
        pytest.param(plugin, shape, id=f"{name}-{plugin.name}")
        for plugin in MODELS
        for name, shape in SHAPES.items()
        if shape[0] == 3 or plugin.name not in COLOUR_ONLY
    ],
)


def build(plugin: Plugin, shape: tuple[int, int, int] = (3, 32, 32), seed: int = 0, num_classes: int = 7) -> nn.Module:
    """A small network, in eval mode."""
    if plugin.name == "timm":
        pytest.importorskip("timm")
    settings = {"width": 0.0625} if "width" in plugin.settings.model_fields else SMALL.get(plugin.name, {})
    torch.manual_seed(seed)
    network: nn.Module = MODELS.build(plugin.name, settings, num_classes=num_classes, input_shape=shape)
    return network.eval()


def logits_shape(plugin: Plugin, shape: tuple[int, int, int]) -> tuple[int, ...]:
    """Of three images."""
    if plugin.name in FOR_BOXES:
        return (3, *build(plugin, shape).get_buffer("anchors").shape[:1], 8 + 7)
    return (3, 7, *shape[1:]) if plugin.name in A_PIXEL else (3, 7)


def images(shape: tuple[int, int, int]) -> torch.Tensor:
    return torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))


@every_shape
def test_logits_of_each_class(plugin: Plugin, shape: tuple[int, int, int]) -> None:
    logits = build(plugin, shape)(images(shape))
    assert logits.shape == logits_shape(plugin, shape)
    assert logits.std() > 0
    assert torch.isfinite(logits).all()


@every
def test_eval_mode_is_a_pure_function_of_each_image(plugin: Plugin) -> None:
    network, batch = build(plugin), images((3, 32, 32))
    with torch.no_grad():
        together = network(batch)
        assert torch.equal(together, network(batch))
        alone = torch.cat([network(batch[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-5)


@every
def test_initial_weights_come_from_the_global_generator(plugin: Plugin) -> None:
    one, again, other = (list(build(plugin, seed=seed).parameters()) for seed in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@every_shape
def test_it_can_be_traced(plugin: Plugin, shape: tuple[int, int, int]) -> None:
    network = build(plugin, shape)
    traced = trace(network, shape)
    assert traced.graph.groups
    assert sorted(traced.network.state_dict()) == sorted(network.state_dict())
    for name, group in traced.graph.groups.items():
        assert group.layer == group.members[0].layer == name
        assert isinstance(network.get_submodule(name), nn.Conv2d)
        assert group.consumers
        assert group.num_filters == network.get_submodule(name).out_channels
    tensors = network.state_dict()
    for axis in traced.graph.axes:
        assert tensors[axis.tensor].shape[axis.dim] == axis.ids.shape[1]
    with torch.no_grad():
        assert torch.equal(traced.network(images(shape)), network(images(shape)))


@every
def test_training_reaches_every_parameter(plugin: Plugin) -> None:
    network = build(plugin).train()
    network(images((3, 32, 32))).square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@every
def test_costs_can_be_counted(plugin: Plugin) -> None:
    network = build(plugin)
    assert count_params(network) == sum(parameter.numel() for parameter in network.parameters())
    assert count_macs(network, (3, 32, 32)) > 0


@every
def test_images_it_cannot_take_are_a_sentence(plugin: Plugin) -> None:
    try:
        logits = build(plugin, (3, 6, 6))(images((3, 6, 6)))
    except ValueError as error:
        assert "6x6" in str(error)  # noqa: PT017
    else:
        assert logits.shape == logits_shape(plugin, (3, 6, 6))


@every
def test_its_own_state_dict_needs_no_adapting(plugin: Plugin) -> None:
    network, other = build(plugin), build(plugin, seed=1)
    tensors = network.state_dict()
    if hasattr(other, "adapt_state_dict"):
        tensors = other.adapt_state_dict(dict(tensors))
    other.load_state_dict(tensors)
    with torch.no_grad():
        assert torch.equal(other(images((3, 32, 32))), network(images((3, 32, 32))))


@pytest.mark.parametrize(
    "plugin", [pytest.param(p, id=p.name) for p in MODELS if {"pretrained", "width"} <= set(p.settings.model_fields)]
)
def test_pretrained_weights_that_cannot_be_had_are_told_by_the_settings(plugin: Plugin, tmp_path: Path) -> None:
    def problems(**settings: object) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = plugin.settings.model_validate(settings).problems()  # type: ignore[attr-defined]
        return found

    file = tmp_path / "weights.pth"
    [(key, message)] = problems(pretrained=str(file))
    assert key == "pretrained"
    assert message.endswith(f"no such file: {str(file)!r}")
    file.touch()
    assert problems(pretrained=str(file)) == problems(pretrained="download") == problems(width=0.5) == []
    [(key, message)] = problems(pretrained=str(file), width=0.5)
    assert (key, message) == ("pretrained", "needs width 1, the width of the trained network; got width 0.5")
