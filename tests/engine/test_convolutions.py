"""Every algorithm computes torch's convolution; shapes alone decide which one runs."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from raprune.engine.kernels.convolutions import FusedConv, fuse

SHAPES = [
    # channels, filters, height, width, kernel, stride, padding, dilation, algorithm
    (64, 64, 8, 8, 3, 1, 1, 1, "winograd"),
    (70, 80, 7, 5, 3, 1, 1, 1, "winograd"),
    (64, 64, 3, 3, 3, 1, 1, 1, "winograd"),
    (64, 64, 2, 2, 3, 1, 1, 1, "matrix"),
    (5, 7, 1, 1, 3, 1, 1, 1, "matrix"),
    (6, 4, 3, 4, 7, 2, 3, 1, "matrix"),
    (5, 7, 2, 3, 5, 1, 4, 2, "matrix"),
    (8, 8, 8, 8, 3, 1, 1, 1, "direct"),
    (64, 64, 8, 8, 3, 2, 1, 1, "direct"),
    (64, 64, 8, 8, 3, 1, 0, 1, "direct"),
    (64, 64, 8, 8, 1, 1, 0, 1, "direct"),
]


def layers(shape: tuple[int, ...], dtype: torch.dtype) -> tuple[nn.Conv2d, nn.BatchNorm2d, torch.Tensor]:
    channels, filters, height, width, kernel, stride, padding, dilation = shape
    torch.manual_seed(0)
    conv = nn.Conv2d(channels, filters, kernel, stride, padding, dilation).to(dtype)
    norm = nn.BatchNorm2d(filters).to(dtype)
    for tensor in (norm.weight, norm.running_var):
        nn.init.uniform_(tensor, 0.5, 1.5)
    for tensor in (norm.bias, norm.running_mean):
        nn.init.normal_(tensor)
    images = torch.randn(5, channels, height, width, dtype=dtype).contiguous(memory_format=torch.channels_last)
    return conv.eval(), norm.eval(), images


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("shape", SHAPES)
@torch.no_grad()
def test_the_fused_convolution_is_the_three_layers(shape: tuple, dtype: torch.dtype, tolerance: float) -> None:
    *shape, algorithm = shape
    conv, norm, images = layers(tuple(shape), dtype)
    wanted = F.relu(norm(conv(images)))
    fused = fuse(conv, norm, relu=True)
    assert fused.geometry.algorithm(conv.in_channels, conv.out_channels, *images.shape[2:]) == algorithm
    found = fused(images)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert float((found - wanted).abs().max() / wanted.abs().max()) < tolerance
    bare = fuse(conv, None, relu=False)(images)
    assert float((bare - conv(images)).abs().max() / bare.abs().max()) < tolerance


@pytest.mark.parametrize("shape", SHAPES)
@torch.no_grad()
def test_a_narrowed_convolution_is_the_one_of_the_slices(shape: tuple) -> None:
    conv, norm, images = layers(tuple(shape[:-1]), torch.float64)
    channels = (torch.rand(conv.in_channels) < 0.6).nonzero()[:, 0]
    filters = (torch.rand(conv.out_channels) < 0.6).nonzero()[:, 0]
    channels, filters = (index if len(index) else torch.tensor([0]) for index in (channels, filters))
    whole = fuse(conv, norm, relu=True)
    alone = FusedConv(whole.weight_KCRS[filters][:, channels], whole.bias_K[filters], whole.geometry, relu=True)
    some = images[:, channels].contiguous(memory_format=torch.channels_last)
    found = whole.narrowed(channels, filters)(some)
    assert torch.allclose(found, alone(some), atol=1e-12)
    assert torch.allclose(whole.narrowed(channels, None)(some)[:, filters], found, atol=1e-12)


@torch.no_grad()
def test_a_convolution_without_bias_or_statistics_of_its_own() -> None:
    conv = nn.Conv2d(4, 6, 3, padding=1, bias=False)
    norm = nn.BatchNorm2d(6, affine=False).eval()
    images = torch.randn(2, 4, 9, 9)
    assert torch.allclose(fuse(conv, norm, relu=False)(images), norm(conv(images)), atol=1e-5)
