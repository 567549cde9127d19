"""Checkpoints: what fits is loaded, what does not is refused with the names of its tensors."""

# ruff: noqa: E501  (tables: one case a line)

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from raprune.errors import InputError
from raprune.network.weights import load_checkpoint, load_safetensors, save_safetensors


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))


def state(seed: int = 1) -> dict[str, Tensor]:
    return network(seed).state_dict()


def written(folder: Path, content: object, name: str = "net.pt") -> Path:
    file = folder / name
    if file.suffix == ".safetensors":
        assert isinstance(content, dict)
        save_safetensors(content, file)
    else:
        torch.save(content, file)
    return file


def refusal(file: Path) -> str:
    """Why the small network cannot be loaded from ``file``; nothing of it was loaded."""
    target = network()
    with pytest.raises(InputError) as caught:
        load_checkpoint(target, file)
    assert all(
        torch.equal(found, was) for found, was in zip(target.state_dict().values(), state(0).values(), strict=True)
    )
    assert str(file) in str(caught.value)
    return str(caught.value)


WRAPPINGS: dict[str, Callable[[dict[str, Tensor]], object]] = {
    "bare": lambda tensors: tensors,
    "state_dict": lambda tensors: {"state_dict": tensors, "epoch": 3},
    "model_state_dict": lambda tensors: {"model_state_dict": tensors, "optimizer_state_dict": {}},
    "model": lambda tensors: {"model": tensors},
    "data parallel": lambda tensors: {f"module.{name}": tensor for name, tensor in tensors.items()},
    "without counters": lambda tensors: {n: t for n, t in tensors.items() if not n.endswith("num_batches_tracked")},
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_what_fits_is_loaded(tmp_path: Path, wrapping: str) -> None:
    target = network()
    load_checkpoint(target, written(tmp_path, WRAPPINGS[wrapping](state())))
    for name, tensor in target.named_parameters():
        assert torch.equal(tensor, state()[name])


@pytest.mark.parametrize("name", ["net.pt", "net.safetensors"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_the_networks(tmp_path: Path, name: str, dtype: torch.dtype) -> None:
    target = network()
    given = {k: t.to(dtype) if t.is_floating_point() else t for k, t in state().items()}
    load_checkpoint(target, written(tmp_path, given, name))
    for key, tensor in target.named_parameters():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, given[key].float())


class Renaming(nn.Sequential):
    """Knows a published network by other names."""

    def adapt_state_dict(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name.replace("conv.", "0."): tensor for name, tensor in tensors.items()}


def test_a_network_can_give_published_tensors_its_own_names(tmp_path: Path) -> None:
    given = {name.replace("0.", "conv.", 1) if name[0] == "0" else name: t for name, t in state().items()}
    assert "conv.weight" in given
    file = written(tmp_path, given)
    assert "conv.weight: the network has no such tensor" in refusal(file)
    target = Renaming(*network())
    load_checkpoint(target, file)
    assert all(torch.equal(tensor, state()[name]) for name, tensor in target.state_dict().items())
    del given["conv.bias"]
    with pytest.raises(InputError, match=r"0\.bias: the checkpoint has no such tensor"):
        load_checkpoint(target, written(tmp_path, given))


def spoilt(change: Callable[[dict[str, Tensor]], object]) -> dict[str, Tensor]:
    tensors = dict(state())
    change(tensors)
    return tensors


@pytest.mark.parametrize(
    ("change", "fragments"),
    [
        (lambda s: s.pop("3.bias"), ["3.bias: the checkpoint has no such tensor"]),
        (lambda s: s.pop("1.running_mean"), ["1.running_mean: the checkpoint has no such tensor"]),
        (lambda s: s.update({"3.bais": s.pop("3.bias")}), ["3.bais: the network has no such tensor; did you mean '3.bias'?"]),
        (lambda s: s.update({"0.weight": torch.zeros(5, 1, 3, 3)}), ["0.weight: the checkpoint has (5, 1, 3, 3), the network (4,"]),
        (lambda s: s.update({"0.bias": torch.zeros(4, dtype=torch.int8)}), ["0.bias: the checkpoint has torch.int8, the network"]),
        (lambda s: s.update({"0.bias": torch.full((4,), torch.nan)}), ["0.bias: has values that are NaN or infinite"]),
        (lambda s: s.update({f"x{i}": torch.zeros(1) for i in range(20)}), ["x0: the network has no such tensor", "and 12 more"]),
        (lambda s: s.clear(), ["state dict of tensors"]),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_listed(tmp_path: Path, change: Callable[..., object], fragments: list[str]) -> None:
    said = refusal(written(tmp_path, spoilt(change)))
    for fragment in fragments:
        assert fragment in said


def test_all_that_does_not_fit_is_told_at_once(tmp_path: Path) -> None:
    tensors = spoilt(lambda s: (s.pop("3.bias"), s.update({"0.bias": torch.zeros(9), "more": torch.zeros(1)})))
    said = refusal(written(tmp_path, tensors, "net.safetensors"))
    assert all(
        name in said for name in ("3.bias: the checkpoint", "0.bias: the checkpoint has (9,)", "more: the network")
    )


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, {"state_dict": {"a": "text"}}, torch.zeros(3), "text", {}])
def test_other_things_than_state_dicts(tmp_path: Path, content: object) -> None:
    assert "does not hold a state dict of tensors" in refusal(written(tmp_path, content))


class Harmful:
    """Writes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.file,)


@pytest.mark.parametrize("dump", [torch.save, lambda content, file: file.write_bytes(pickle.dumps(content))])
def test_code_in_a_checkpoint_is_never_run(tmp_path: Path, dump: Callable[[object, Path], object]) -> None:
    dump({"state_dict": Harmful(tmp_path / "harm")}, tmp_path / "net.pt")
    said = refusal(tmp_path / "net.pt")
    assert "it holds 'state_dict' (" in said or "torch.save(network.state_dict(), ...)" in said
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("name", ["net.pt", "net.safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_truncated_files_are_refused(tmp_path: Path, name: str, share: float) -> None:
    file = written(tmp_path, state(), name)
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    assert str(file) in refusal(file)


@pytest.mark.parametrize("name", ["net.pt", "net.safetensors", "net"])
@pytest.mark.parametrize("content", [b"not a checkpoint", b"\x80\x02}q\x00.", b"\xff" * 64, b"PK\x03\x04" + b"\0" * 60])
def test_files_that_are_no_checkpoints(tmp_path: Path, name: str, content: bytes) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    said = refusal(file)
    assert "Weights only load failed" not in said
    assert len(said.splitlines()) == 1


def test_saving_leaves_nothing_aside(tmp_path: Path) -> None:
    file = written(tmp_path, state(), "net.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["net.safetensors"]
    assert all(torch.equal(tensor, state()[name]) for name, tensor in load_safetensors(file).items())
