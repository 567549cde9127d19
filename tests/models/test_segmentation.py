"""Networks with one output a pixel: any size of image, every output pixel at its place."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.fx import symbolic_trace

from raprune.plugins.models.fcn32s import bilinear_kernel
from tests.models.published import build, torchvision_vgg16

NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "fcn32s": ("fcn32s", {}),
    "fcn32s same": ("fcn32s", {"padding": "same"}),
    "fcn32s bilinear": ("fcn32s", {"deconvolution": "bilinear"}),
    "segnet": ("segnet", {}),
}
SIZES = [(45, 60), (64, 64), (180, 240), (33, 1), (1, 1), (31, 97)]

every = pytest.mark.parametrize("name", NETWORKS)


def slim(name: str, size: tuple[int, int] = (45, 60), num_classes: int = 5) -> nn.Module:
    torch.manual_seed(0)
    network, settings = NETWORKS[name]
    return build(network, num_classes, (3, *size), width=1 / 32, **settings).eval()


@every
@pytest.mark.parametrize("size", SIZES)
@torch.no_grad()
def test_every_pixel_of_images_of_any_size(name: str, size: tuple[int, int]) -> None:
    network = slim(name, size)
    images = torch.randn(2, 3, *size)
    logits = network(images)
    assert logits.shape == (2, 5, *size)
    assert torch.isfinite(logits).all()
    assert torch.equal(symbolic_trace(network)(images), logits)
    torch.testing.assert_close(network(images.contiguous(memory_format=torch.channels_last)), logits)


@every
@torch.no_grad()
def test_a_traced_network_takes_other_sizes(name: str) -> None:
    network = slim(name)
    traced = symbolic_trace(network)
    for size in SIZES[:3]:
        images = torch.randn(1, 3, *size)
        assert torch.equal(traced(images), network(images))


def follow_one_channel(network: nn.Module) -> None:
    """Make every convolution of FCN-32s hand the first channel on, pixel by pixel, to the first class."""
    for module in network.children():
        if isinstance(module, nn.Conv2d):
            module.weight.zero_()
            module.bias.zero_()
            module.weight[0, 0, module.kernel_size[0] // 2, module.kernel_size[1] // 2] = 1


@pytest.mark.parametrize(("name", "first"), [("fcn32s", -3), ("fcn32s bilinear", -3), ("fcn32s same", 0)])
@torch.no_grad()
def test_a_score_lies_over_the_pixels_it_comes_from(name: str, first: int) -> None:
    network = slim(name, (97, 130))
    follow_one_channel(network)
    for row in (0, 15, 28, 29, 31, 32, 63, 64, 93, 96):
        image = torch.zeros(1, 3, 97, 130)
        image[0, 0, row, row] = 1
        logits = network(image)[0, 0]
        start = first + (row - first) // 32 * 32  # the 32x32 pixels that are pooled to one score
        expected = torch.zeros(224, 256)
        expected[48 + start : 48 + start + 64, 48 + start : 48 + start + 64] = bilinear_kernel()
        torch.testing.assert_close(logits, expected[64 : 64 + 97, 64 : 64 + 130])


@torch.no_grad()
def test_the_deconvolution_interpolates() -> None:
    kernel = bilinear_kernel()
    assert kernel.shape == (64, 64)
    assert torch.equal(kernel, kernel.T)
    assert torch.equal(kernel, kernel.flip(0))
    scores = torch.randn(1, 5, 4, 6)
    for name in ("fcn32s", "fcn32s bilinear"):
        upscored = slim(name).get_submodule("upscore")(scores)
        inside = upscored[:, :, 32:-32, 32:-32]  # between the centres of the outer scores and the edge
        known = nn.functional.interpolate(scores, scale_factor=32, mode="bilinear", align_corners=False)
        torch.testing.assert_close(inside, known[:, :, 16:-16, 16:-16])


def test_a_bilinear_deconvolution_is_not_trained() -> None:
    network = slim("fcn32s bilinear")
    assert "upscore.weight" not in dict(network.named_parameters())
    assert network.state_dict()["upscore.weight"].shape == (5, 1, 64, 64)
    network.train()(torch.randn(1, 3, 40, 40)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def classified_by_convolutions(width: float, num_classes: int) -> tuple[Tensor, Tensor]:
    """Logits of torchvision's VGG-16 at 224x224, and scores of FCN-32s with its weights where fc6 sees all of it."""
    torch.manual_seed(0)
    vgg = torchvision_vgg16(width, num_classes)
    network = build("fcn32s", num_classes, (3, 224, 224), width=width, padding="same").eval()
    own = network.state_dict()
    network.load_state_dict({**own, **network.adapt_state_dict(vgg.state_dict())})
    image = torch.randn(1, 3, 224, 224)
    scores: list[Tensor] = []
    network.get_submodule("score_fr").register_forward_hook(lambda *call: scores.append(call[2]))
    with torch.no_grad():
        network(image)
        expected = vgg(image)
    assert scores[0].shape == (1, num_classes, 7, 7)
    return expected, scores[0][:, :, 3, 3]


def test_the_head_is_the_classifier() -> None:
    expected, found = classified_by_convolutions(1 / 16, 12)
    assert expected.std() > 0.01
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_the_head_is_the_classifier_at_full_size() -> None:
    expected, found = classified_by_convolutions(1, 21)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


@torch.no_grad()
def test_segnet_puts_values_back_where_they_came_from() -> None:
    network = slim("segnet", (9, 13))
    pool, unpool = network.get_submodule("pool1"), network.get_submodule("upsample1")
    maps = torch.randn(1, 2, 9, 13)
    pooled, indices = pool(maps)
    assert pooled.shape == (1, 2, 5, 7)
    back = unpool(pooled, indices, output_size=maps.size())
    assert back.count_nonzero() == pooled.numel()
    assert torch.equal(back[back != 0], maps[back != 0])
    assert torch.equal(pool(back.where(back != 0, maps.min()))[0], pooled)
