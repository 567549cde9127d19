"""Checkpoints in the wrappings of trainers: the same tensors are found in all of them, or the file says what it holds."""

# ruff: noqa: E501  (tables: one case a line)

from __future__ import annotations

import argparse
import os
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from raprune.errors import InputError
from raprune.network.weights import load_checkpoint
from tests.models.published import build, torchvision_vgg16
from tests.network.test_weights import network, refusal, state, written

Tensors = dict[str, Tensor]


def under(prefix: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {prefix + name: tensor for name, tensor in tensors.items()}


def zeros(tensors: Tensors) -> Tensors:
    return {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}


FLAT: dict[str, Callable[[Tensors], Tensors]] = {
    "data parallel": under("module."),
    "compiled": under("_orig_mod."),
    "compiled and data parallel": under("module._orig_mod."),
    "lightning": under("model."),
    "one of one's own": under("backbone.the_net."),
    "averaged": lambda t: {"n_averaged": torch.tensor(3), **under("module.")(t)},
    "averaged, parallel": lambda t: {"module.n_averaged": torch.tensor(3), **under("module.module.")(t)},
    "with the loss beside it": lambda t: {**under("net.")(t), "criterion.weight": torch.ones(2)},
    "half": lambda t: {
        name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in under("module.")(t).items()
    },
}
NESTED: dict[str, Callable[[Tensors], object]] = {
    "net": lambda t: {"net": under("module.")(t), "acc": 93.0, "epoch": 3},
    "weights": lambda t: {"weights": OrderedDict(t)},
    "ema": lambda t: {"ema": t, "updates": 7},
    "nested": lambda t: {"checkpoint": {"model": {"state_dict": under("model.")(t)}}},
    "lightning": lambda t: {"state_dict": under("model.")(t), "epoch": 3, "optimizer_states": [{"state": {0: {"m": torch.ones(2)}}}]},
    "with an optimiser": lambda t: {"optimizer": {"state": {0: {"exp_avg": torch.ones(4, 1, 3, 3)}}}, "params": t},
    "the one that fits": lambda t: {"generator": {"conv.weight": torch.ones(2, 2)}, "discriminator": t},
    "beside numbers": lambda t: {"epoch": 3, "best": 93.5, **t},
    "the usual one": lambda t: {"ema": zeros(t), "model": t},
}  # fmt: skip


def test_prefixes_go_in_every_format(tmp_path: Path) -> None:
    for number, wrap in enumerate(FLAT.values()):
        for name in ("net.pt", "net.pth", "net.ckpt", "net.safetensors"):
            target = network()
            load_checkpoint(target, written(tmp_path, wrap(state()), f"{number}{name}"))
            for key, tensor in target.named_parameters():
                assert torch.allclose(tensor, state()[key], atol=1e-3), (number, name, key)


@pytest.mark.parametrize("wrapping", NESTED)
def test_the_dictionary_inside_is_found(tmp_path: Path, wrapping: str) -> None:
    target = network()
    load_checkpoint(target, written(tmp_path, NESTED[wrapping](state())))
    assert all(torch.equal(tensor, state()[name]) for name, tensor in target.named_parameters())


def test_the_content_says_what_a_file_is(tmp_path: Path) -> None:
    """Whatever its name: safetensors under .pt, a pickle under .bin."""
    written(tmp_path, state(), "net.safetensors").rename(tmp_path / "net.pt")
    written(tmp_path, state(), "other.pt").rename(tmp_path / "other.bin")
    for name in ("net.pt", "other.bin"):
        target = network()
        load_checkpoint(target, tmp_path / name)
        assert torch.equal(target[0].weight, state()["0.weight"])


class Wrapped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = network()


def test_a_network_may_be_the_wrapped_one(tmp_path: Path) -> None:
    for prefix in ("", "module.", "net.", "module.net."):
        target = Wrapped()
        load_checkpoint(target, written(tmp_path, under(prefix)(state())))
        assert torch.equal(target.net[0].weight, state()["0.weight"])


def test_what_is_left_out_is_told(tmp_path: Path) -> None:
    extra = {"aux.conv.weight": torch.ones(2), "aux.conv.bias": torch.ones(2), "proj.weight": torch.ones(1)}
    left_out = load_checkpoint(network(), written(tmp_path, {**state(), **extra}))
    assert left_out == ["aux (2 tensors)", "proj (1 tensor)"]
    left_out = load_checkpoint(network(), written(tmp_path, {"model": state(), "ema": zeros(state())}))
    assert left_out == ["its 'ema', which also fits: 'model' is loaded"]
    assert load_checkpoint(network(), written(tmp_path, state())) == []


def test_several_that_fit_are_named(tmp_path: Path) -> None:
    said = refusal(written(tmp_path, {"student": state(), "teacher": zeros(state())}))
    assert "holds several dictionaries that fit the network, 'student', 'teacher': save the one" in said


def test_names_of_the_file_stand_beside_those_of_the_network(tmp_path: Path) -> None:
    theirs = {"0.weight": "stem.weight", "0.bias": "stem.bias", "3.weight": "fc.weight", "3.bias": "fc.bias"}
    said = refusal(written(tmp_path, {theirs.get(name, name): tensor for name, tensor in under("")(state()).items()}))
    assert (
        "0.weight: the checkpoint has no such tensor; it has stem.weight (4, 1, 3, 3), the network needs (4, 1" in said
    )
    assert "fc.bias: the network has no such tensor; did you mean '3.bias'?" in said
    said = refusal(written(tmp_path, {"state_dict": under("model.")({**state(), "3.weight": torch.zeros(7, 16)})}))
    assert (
        "('state_dict' in it) does not fit the network:\n  3.weight: the checkpoint has (7, 16), the network (2, 16)"
        in said
    )


@pytest.mark.parametrize(
    ("content", "fragment"),
    [
        ({"epoch": 3, "name": "x"}, "it holds 'epoch' (int), 'name' (str)"),
        ({}, "it is empty"),
        ([1], "it holds a list"),
        (torch.zeros(2), "it holds one tensor"),
        ({"n_averaged": torch.tensor(3)}, "it holds 'n_averaged' (Tensor)"),
        (
            {"args": argparse.Namespace(a=1), "path": Path("x")},
            "it holds 'args' (argparse.Namespace), 'path' (pathlib.",
        ),
    ],
)
def test_other_content_is_told(tmp_path: Path, content: object, fragment: str) -> None:
    assert fragment in refusal(written(tmp_path, content))


def test_what_is_no_file_of_tensors_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "empty.pt").touch()
    (tmp_path / "folder.pt").mkdir()
    os.mkfifo(tmp_path / "pipe.pt")
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"0.weight": "model-1.safetensors"}}')
    files = {
        "empty.pt": "is empty",
        "folder.pt": "is a folder",
        "pipe.pt": "is not a regular file",
        "none.pt": "No such file",
    }
    for name, fragment in {**files, "model.safetensors.index.json": "split into several files (shards)"}.items():
        said = refusal(tmp_path / name)
        assert fragment in said
        assert len(said.splitlines()) == 1


class Stateful(nn.ReLU):
    limit: Any = 6

    def get_extra_state(self) -> Any:
        return {"limit": self.limit}

    def set_extra_state(self, said: Any) -> None:
        self.limit = said["limit"]


def test_extra_state_is_the_networks_own(tmp_path: Path) -> None:
    """What the network builds is kept; a checkpoint that has other is refused by the module's name."""
    target = nn.Sequential(*network(), Stateful())
    file = written(tmp_path, target.state_dict())
    load_checkpoint(target, file)
    load_checkpoint(target, written(tmp_path, state(), "bare.pt"))
    target[4].limit = 7
    with pytest.raises(InputError, match=r"4\._extra_state: the checkpoint has different extra state"):
        load_checkpoint(target, file)
    assert target[4].limit == 7


@pytest.mark.parametrize(
    "wrap",
    [
        under("module."),
        lambda t: {"n_averaged": torch.tensor(1), **under("module.")(t)},
        lambda t: {"optimizer": {}, "net": under("model.")(t)},
    ],
)
def test_published_weights_may_be_wrapped_too(tmp_path: Path, wrap: Callable[[Tensors], object]) -> None:
    """As a checkpoint, and as pretrained weights."""
    torch.manual_seed(0)
    vgg = torchvision_vgg16(1 / 16, 9, True)
    torch.save(wrap(vgg.state_dict()), tmp_path / "vgg.pt")
    ours = build("segnet", 7, (3, 32, 32), width=1 / 16, pretrained=str(tmp_path / "vgg.pt"))
    theirs = [m.weight for m in vgg.modules() if isinstance(m, nn.Conv2d)]
    found = [m.weight for m in ours.modules() if isinstance(m, nn.Conv2d)]
    assert all(torch.equal(one, other) for one, other in zip(theirs, found, strict=False))
