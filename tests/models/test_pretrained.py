"""Weights of others: torchvision's by path and download, published names, and what is said where they do not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
from torch import Tensor, nn

from raprune.errors import InputError
from raprune.network.weights import load_checkpoint, save_safetensors
from raprune.plugins.models.fcn32s import bilinear_kernel
from raprune.plugins.models.pretrained import adapt, load_pretrained, source_problem
from tests.models.published import FCN32S, build, torchvision_vgg16

SLIM = 1 / 16
CASES = {
    "vgg16": ("vgg16", True, {}),
    "segnet": ("segnet", True, {}),
    "fcn32s": ("fcn32s", False, {}),
    "vgg16_imagenet": ("vgg16_imagenet", False, {}),
    "vgg16_imagenet with norms": ("vgg16_imagenet", True, {"batch_norm": True}),
}
"""Case -> network, whether its VGG-16 has norms, settings."""
every = pytest.mark.parametrize("case", CASES)


def slim(case: str, **more: Any) -> nn.Module:
    name, _, settings = CASES[case]
    torch.manual_seed(1)
    return build(name, 7, (3, 32, 32), width=SLIM, **settings, **more).eval()


@pytest.fixture(params=[False, True], ids=["plain", "norms"])
def vgg(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return torchvision_vgg16(SLIM, 9, request.param)


def published(case: str) -> nn.Module:
    torch.manual_seed(0)
    return torchvision_vgg16(SLIM, 9, CASES[case][1])


def layer_outputs(network: nn.Module, images: Tensor, kind: type[nn.Module]) -> list[Tensor]:
    """What each layer of a kind gives, in the order in which they run."""
    seen: list[Tensor] = []
    for module in network.modules():
        if isinstance(module, kind):
            module.register_forward_hook(lambda *call: seen.append(call[2].clone()))
    with torch.no_grad():
        network(images)
    return seen


@every
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_path_gives_the_published_features(
    case: str, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vgg = published(case)
    file = tmp_path / f"vgg{suffix}"
    if suffix == ".pth":
        torch.save(vgg.state_dict(), file)
    else:
        save_safetensors(vgg.state_dict(), file)
    monkeypatch.setenv("WEIGHTS", str(tmp_path))
    settings = {"padding": "same"} if case == "fcn32s" else {}
    network = slim(case, pretrained=f"$WEIGHTS/vgg{suffix}", **settings)
    images = torch.randn(2, 3, 32, 32)
    kind = nn.BatchNorm2d if CASES[case][1] else nn.Conv2d
    expected, found = (layer_outputs(net, images, kind) for net in (vgg, network))
    assert len(expected) == 13
    for one, other in zip(expected, found, strict=False):
        assert torch.equal(one, other)


@every
def test_layers_that_were_not_trained_stay_as_they_start(case: str, tmp_path: Path) -> None:
    torch.save(published(case).state_dict(), tmp_path / "vgg.pth")
    plain, network = slim(case).state_dict(), slim(case, pretrained=str(tmp_path / "vgg.pth")).state_dict()
    assert {n: t.shape for n, t in plain.items()} == {n: t.shape for n, t in network.items()}
    fresh = {
        "vgg16": {"classifier.0", "classifier.2"},
        "fcn32s": {"score_fr", "upscore"},
        "segnet": {name for name, _ in slim("segnet").named_modules() if "_D" in name and "relu" not in name},
    }.get(case, {"classifier.6"})
    changed = {name.rpartition(".")[0] for name in plain if not torch.equal(plain[name], network[name])}
    assert changed == {name.rpartition(".")[0] for name in plain} - fresh


def test_what_does_not_fit_is_listed(tmp_path: Path) -> None:
    torch.save(torchvision_vgg16(1 / 32, 9).state_dict(), tmp_path / "slimmer.pth")
    torch.save(torchvision_vgg16(SLIM, 9).state_dict(), tmp_path / "plain.pth")
    with pytest.raises(InputError, match=r"pretrained vgg16 .*slimmer.pth' does not fit(?s:.*)conv1_1.weight: the ch"):
        slim("fcn32s", pretrained=str(tmp_path / "slimmer.pth"))
    with pytest.raises(InputError, match=r"pretrained vgg16_bn(?s:.*)conv1_1_bn.weight: the checkpoint has no such"):
        slim("segnet", pretrained=str(tmp_path / "plain.pth"))
    with pytest.raises(
        InputError, match=r"conv1_1.weight: the checkpoint has \(4, 3, 3, 3\), the network \(4, 1, 3, 3\)"
    ):
        build("fcn32s", 7, (1, 32, 32), width=SLIM, pretrained=str(tmp_path / "plain.pth"))
    with pytest.raises(InputError, match=r"no such file: '.*none.pth'"):
        slim("fcn32s", pretrained=str(tmp_path / "none.pth"))
    (tmp_path / "no.pth").write_text("no state dict")
    with pytest.raises(InputError, match=r"no.pth' is damaged"):
        slim("fcn32s", pretrained=str(tmp_path / "no.pth"))


def test_a_download_is_read_from_torchs_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    torch.save(published("vgg16").state_dict(), cache / "vgg16_bn-6c64b313.pth")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    network = slim("vgg16", pretrained="download")
    assert torch.equal(
        network.state_dict()["features.40.weight"], published("vgg16").state_dict()["features.40.weight"]
    )


@pytest.mark.parametrize(("case", "name"), [("fcn32s", "vgg16"), ("segnet", "vgg16_bn")])
def test_a_download_without_a_network_says_what_to_do(
    case: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*args: object, **settings: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", unreachable)
    with pytest.raises(InputError) as caught:
        slim(case, pretrained="download")
    said = str(caught.value)
    assert f"{name} cannot be downloaded" in said
    assert "no route to host" in said
    assert said.endswith("give a path: --set model.pretrained=PATH")


def test_no_source_reads_nothing() -> None:
    network = nn.Linear(2, 2)
    before = network.weight.clone()
    load_pretrained(network, "none", "no_such_network", {"features.0": ""})
    assert torch.equal(network.weight, before)


def published_fcn32s(num_classes: int = 7) -> dict[str, Tensor]:
    """A slim state dict with the published names and its fixed deconvolution."""
    generator = torch.Generator().manual_seed(2)
    tensors = {}
    for layer, (filters, channels, *kernel) in FCN32S.items():
        sizes = [num_classes if n == 21 else n if n == 3 else n // 16 for n in (filters, channels)]
        if layer == "upscore":
            tensors["upscore.weight"] = torch.einsum("ij,hw->ijhw", torch.eye(num_classes), bilinear_kernel())
            continue
        fan_in = sizes[1] * kernel[0] * kernel[1]
        tensors[f"{layer}.weight"] = torch.randn(*sizes, *kernel, generator=generator) * (2 / fan_in) ** 0.5
        tensors[f"{layer}.bias"] = torch.randn(sizes[0], generator=generator) * 0.1
    return tensors


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "net.fcn."])
def test_a_published_fcn32s_is_a_checkpoint(prefix: str, tmp_path: Path) -> None:
    tensors = published_fcn32s()
    file = tmp_path / "fcn32s.pth"
    torch.save({prefix + name: tensor for name, tensor in tensors.items()}, file)
    logits = []
    for deconvolution in ("dense", "bilinear"):
        network = slim("fcn32s", deconvolution=deconvolution)
        load_checkpoint(network, file)
        with torch.no_grad():
            logits.append(network(torch.ones(1, 3, 40, 50)))
    assert logits[0].std() > 0.01
    torch.testing.assert_close(logits[0], logits[1])


def test_classes_made_of_others_do_not_fit_a_bilinear_deconvolution(tmp_path: Path) -> None:
    tensors = published_fcn32s()
    tensors["upscore.weight"][0, 1] = 0.5
    torch.save(tensors, tmp_path / "fcn32s.pth")
    load_checkpoint(slim("fcn32s"), tmp_path / "fcn32s.pth")
    with pytest.raises(
        InputError, match=r"upscore.weight: the checkpoint has \(7, 7, 64, 64\), the network \(7, 1, 64"
    ):
        load_checkpoint(slim("fcn32s", deconvolution="bilinear"), tmp_path / "fcn32s.pth")


@every
@pytest.mark.parametrize("prefix", ["net.", "a.b."])
def test_a_part_of_a_larger_module_is_a_checkpoint(case: str, prefix: str, tmp_path: Path) -> None:
    network = slim(case)
    torch.save({prefix + name: tensor for name, tensor in network.state_dict().items()}, tmp_path / "part.pth")
    other = build(CASES[case][0], 7, (3, 32, 32), width=SLIM, **CASES[case][2])
    load_checkpoint(other, tmp_path / "part.pth")
    assert all(torch.equal(t, network.state_dict()[name]) for name, t in other.state_dict().items())


def test_torchvisions_state_dicts_are_checkpoints(vgg: nn.Module, tmp_path: Path) -> None:
    torch.save(vgg.state_dict(), tmp_path / "vgg.pth")
    norms = any(isinstance(module, nn.BatchNorm2d) for module in vgg.modules())
    network = build("vgg16_imagenet", 9, (3, 64, 96), width=SLIM, batch_norm=norms).eval()
    load_checkpoint(network, tmp_path / "vgg.pth")
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        assert torch.equal(network(images), vgg(images))


def test_names_become_ours() -> None:
    expected = {"fc.weight": torch.zeros(2, 3, 2, 2), "fc.bias": torch.zeros(2), "out.weight": torch.zeros(2, 2)}
    matrix = torch.arange(24.0).view(2, 12)
    for prefix in ("", "net.", "a.b."):
        given = {f"{prefix}theirs.0.weight": matrix, f"{prefix}theirs.0.bias": torch.ones(2), f"{prefix}x.y": matrix}
        adapted = adapt(given, expected, {"theirs.0": "fc"})
        assert set(adapted) == {"fc.weight", "fc.bias", "x.y"}
        assert torch.equal(adapted["fc.weight"], matrix.view(2, 3, 2, 2))
        assert torch.equal(adapted["x.y"], matrix)
    unknown = {"other.part.weight": matrix, "bare": matrix}
    assert set(adapt(unknown, expected, {})) == set(unknown)
    assert set(adapt({"a.b.weight": matrix}, expected, {})) == {"weight"}


def test_home_folders_and_variables_are_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.pt").touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETWORK", "net")
    assert source_problem("~/$NETWORK.pt") is None
    assert str(tmp_path / "no.pt") in (source_problem("~/no.pt") or "")
