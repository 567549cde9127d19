"""Parameters and multiply-adds of every network at full size, by closed forms, and slim ones."""

from __future__ import annotations

import pytest
from torch import nn
from torchvision import models as torchvision_models

from raprune.network.measure import count_macs, count_params
from raprune.registry import MODELS, Plugin
from tests.models.published import FCN32S, SEGNET_DECODER, VGG16, build, sizes_only, stage


def conv(channels: int, filters: int, kernel: int = 3, bias: bool = True) -> int:
    """Parameters of a convolution."""
    return filters * channels * kernel**2 + (filters if bias else 0)


def halved(size: int, times: int) -> int:
    """``size`` after that many pools that round up."""
    return -(-size // 2**times)


def shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def test_resnet18() -> None:
    network = sizes_only("resnet18", 10, (3, 32, 32))
    params, macs, channels, num_convolutions = conv(3, 64, 7, bias=False) + 2 * 64, 64 * 16**2 * 3 * 49, 64, 1
    for filters, side in ((64, 16), (128, 8), (256, 4), (512, 2)):
        kernels = [conv(c, filters, bias=False) for c in (channels, filters, filters, filters)]
        kernels += [conv(channels, filters, 1, bias=False)] if channels != filters else []
        params += sum(kernels) + 2 * filters * len(kernels)
        macs += sum(kernels) * side**2
        num_convolutions += len(kernels)
        channels = filters
    assert count_params(network) == params + 512 * 10 + 10 == 11_181_642
    assert count_macs(network, (3, 32, 32)) == macs + 512 * 10 == 140_825_600
    assert sum(isinstance(module, nn.Conv2d) for module in network.modules()) == num_convolutions == 20
    assert shapes(network) == shapes(torchvision_models.resnet18(num_classes=10))


@pytest.mark.parametrize(
    ("depth", "known"), [(20, 269_722), (32, 464_154), (44, 658_586), (56, 853_018), (110, 1_727_962)]
)
def test_cifar_resnets(depth: int, known: int) -> None:
    network = sizes_only("cifar_resnet", 10, (3, 32, 32), depth=depth)
    params, macs, channels = conv(3, 16, bias=False) + 2 * 16, 16 * 32**2 * 27, 16
    for filters, side in ((16, 32), (32, 16), (64, 8)):
        kernels = [conv(channels, filters, bias=False)] + [conv(filters, filters, bias=False)] * ((depth - 2) // 3 - 1)
        params += sum(kernels) + 2 * filters * len(kernels)
        macs += sum(kernels) * side**2
        channels = filters
    assert count_params(network) == params + 64 * 10 + 10 == known
    assert count_macs(network, (3, 32, 32)) == macs + 64 * 10
    layers = [m for m in network.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    assert len(layers) == depth


@pytest.mark.parametrize("batch_norm", [False, True])
def test_vgg16_imagenet(batch_norm: bool) -> None:
    network = sizes_only("vgg16_imagenet", 1000, (3, 224, 224), batch_norm=batch_norm)
    linear = ((25088, 4096), (4096, 4096), (4096, 1000))
    params = sum(conv(*sizes) for sizes in VGG16.values()) + sum(conv(*sizes, 1) for sizes in linear)
    norms = sum(2 * filters for _, filters in VGG16.values()) if batch_norm else 0
    macs = sum(conv(*sizes, bias=False) * (448 >> stage(name)) ** 2 for name, sizes in VGG16.items())
    assert count_params(network) == params + norms == (138_365_992 if batch_norm else 138_357_544)
    assert count_macs(network, (3, 224, 224)) == macs + sum(i * o for i, o in linear) == 15_470_264_320


@pytest.mark.parametrize("deconvolution", ["dense", "bilinear"])
@pytest.mark.parametrize("padding", ["published", "same"])
@pytest.mark.parametrize("size", [(500, 375), (64, 64), (45, 61)])
def test_fcn32s(padding: str, deconvolution: str, size: tuple[int, int]) -> None:
    settings = {"padding": padding, "deconvolution": deconvolution}
    network = sizes_only("fcn32s", 21, (3, *size), **settings)
    one = 21 if deconvolution == "dense" else 1
    trained = 21 * 21 * 64 * 64 if deconvolution == "dense" else 0
    params = sum(conv(*sizes) for sizes in VGG16.values())
    params += conv(512, 4096, 7) + conv(4096, 4096, 1) + conv(4096, 21, 1)
    assert count_params(network) == params + trained
    assert params + 21 * 21 * 64 * 64 == 136_152_917
    margin, less = (198, 6) if padding == "published" else (0, 0)

    def positions(pools: int, less: int = 0) -> int:
        return (halved(size[0] + margin, pools) - less) * (halved(size[1] + margin, pools) - less)

    macs = sum(conv(*sizes, bias=False) * positions(stage(name) - 1) for name, sizes in VGG16.items())
    head = 512 * 4096 * 49 + 4096 * 4096 + 4096 * 21 + 21 * one * 64 * 64
    assert count_macs(network, (3, *size)) == macs + head * positions(5, less)


def test_fcn32s_has_the_published_names() -> None:
    expected = {f"{layer}.weight": shape for layer, shape in FCN32S.items()}
    expected |= {f"{layer}.bias": shape[:1] for layer, shape in FCN32S.items() if layer != "upscore"}
    assert shapes(sizes_only("fcn32s", 21, (3, 500, 500))) == expected


@pytest.mark.parametrize("size", [(360, 480), (180, 240), (45, 61)])
def test_segnet(size: tuple[int, int]) -> None:
    network = sizes_only("segnet", 11, (3, *size))
    layers = {**VGG16, **SEGNET_DECODER}
    assert len(layers) == 26
    norms = sum(2 * filters for name, (_, filters) in layers.items() if name != "conv1_1_D")
    assert count_params(network) == sum(conv(*sizes) for sizes in layers.values()) + norms == 29_449_355
    macs = 0
    for name, sizes in layers.items():
        pools = stage(name) - 1
        macs += conv(*sizes, bias=False) * halved(size[0], pools) * halved(size[1], pools)
    assert count_macs(network, (3, *size)) == macs
    if size == (360, 480):
        assert macs == 106_712_432_640
    convolutions = {n: (m.in_channels, m.out_channels) for n, m in network.named_modules() if isinstance(m, nn.Conv2d)}
    assert convolutions == layers
    assert list(convolutions) == list(layers)


@pytest.mark.parametrize(
    "plugin",
    [
        pytest.param(plugin, id=plugin.name)
        for plugin in MODELS
        if "width" in plugin.settings.model_fields and plugin.name != "small_ssd"  # below: it has several outputs
    ],
)
def test_width_scales_every_layer_but_the_output(plugin: Plugin) -> None:
    full, half = (sizes_only(plugin.name, 7, (3, 32, 32), width=width) for width in (1.0, 0.5))
    narrow = dict(half.named_modules())
    layers = [(n, m) for n, m in full.named_modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    for name, module in layers[:-1]:
        assert module.weight.shape[0] == 2 * narrow[name].weight.shape[0]
    last = layers[-1][0]
    assert narrow[last].weight.shape[0] == 7
    slimmest = build(plugin.name, 7, (3, 32, 32), width=0.001)
    assert all(1 <= slimmest.get_submodule(name).weight.shape[0] <= 4 for name, _ in layers[:-1])


def test_width_scales_the_filters_of_small_ssd() -> None:
    full, half = (build("small_ssd", 7, (3, 64, 64), width=width) for width in (1.0, 0.5))
    narrow = dict(half.named_modules())
    filters = {n: m for n, m in full.named_modules() if isinstance(m, nn.Conv2d) and n.startswith("backbone.")}
    assert filters
    assert all(module.weight.shape[0] == 2 * narrow[name].weight.shape[0] for name, module in filters.items())
    heads = {n: m for n, m in full.named_modules() if isinstance(m, nn.Conv2d) and n not in filters}
    assert all(module.weight.shape[0] == narrow[name].weight.shape[0] for name, module in heads.items())
