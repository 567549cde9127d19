"""Files of trainers that hold other objects beside the tensors: the tensors are found, nothing else is built or run."""

from __future__ import annotations

import argparse
import enum
import functools
import pickle
import sys
import zipfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from raprune.network.pickled import STORAGES, Foreign, tensors_of_pickle
from raprune.network.weights import load_checkpoint
from tests.network.test_weights import Harmful, network, refusal, state, written


class Mode(enum.Enum):
    FAST = 1


class OwnDict(dict[str, object]):
    pass


HYPER_PARAMETERS = {
    "path": Path("x"),
    "activation": nn.ReLU,
    "loss": nn.CrossEntropyLoss(torch.ones(2)),
    "optimiser": functools.partial(torch.optim.Adam, lr=1),
    "mode": Mode.FAST,
    "method": Path("x").with_suffix,
    "more": OwnDict(a=1),
    "counts": defaultdict(list, {Path("k"): [1]}),
    "kinds": {Mode.FAST},
}


def named(prefix: str) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in state().items()}


class Trained(nn.Module):
    """As someone's script has it: a network inside, a buffer that is not stored, a parameter that is absent."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.DataParallel(network(1))
        self.register_buffer("scratch", torch.zeros(3), persistent=False)
        self.register_parameter("absent", None)


CONTENTS: dict[str, Callable[[], object]] = {
    "lightning": lambda: {
        "epoch": 1,
        "state_dict": named("model.") | {"loss.weight": torch.ones(2)},
        "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(1.0), "dirpath": Path("x")}},
        "hyper_parameters": HYPER_PARAMETERS,
    },
    "timm": lambda: {
        "arch": "resnet18",
        "args": argparse.Namespace(lr=0.1),
        "state_dict": state(),
        "state_dict_ema": named("module."),
    },
    "a whole network": lambda: network(1),
    "a network in a wrapper": Trained,
    "among others": lambda: {"model": network(1).half(), "ema": None, "opt": {}, "args": HYPER_PARAMETERS},
}  # fmt: skip


@pytest.mark.parametrize("content", CONTENTS)
def test_the_tensors_are_found(tmp_path: Path, content: str) -> None:
    target = network()
    load_checkpoint(target, written(tmp_path, CONTENTS[content]()))
    for name, tensor in target.named_parameters():
        assert torch.allclose(tensor, state()[name], atol=1e-3), name


def test_they_are_those_of_torch(tmp_path: Path) -> None:
    """Views, steps, shared storages, empty tensors and every type, to the last bit."""
    whole = torch.arange(24, dtype=torch.float32)
    tensors = {
        "view": whole.view(4, 6)[1:, ::2],
        "same": whole,
        "turned": torch.randn(2, 3, 4, 5).permute(0, 3, 1, 2),
        "empty": torch.zeros(0, 3),
        "number": torch.tensor(3),
        "parameter": nn.Parameter(torch.ones(2)),
        **{name: torch.ones(3).to(dtype) for name, dtype in STORAGES.items()},
    }
    found = tensors_of_pickle(written(tmp_path, tensors))
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)
    assert found["view"].untyped_storage().data_ptr() == found["same"].untyped_storage().data_ptr()


def test_nothing_of_a_file_is_imported_or_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "module_of_a_stranger.py").write_text("class Settings: pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import module_of_a_stranger  # type: ignore[import-not-found]

    settings = module_of_a_stranger.Settings()
    settings.harm = [Harmful(tmp_path / "harm")]
    file = written(tmp_path, {"settings": settings, "net": state()})
    del sys.modules["module_of_a_stranger"]
    target = network()
    load_checkpoint(target, file)
    assert torch.equal(target[0].weight, state()["0.weight"])
    assert "module_of_a_stranger" not in sys.modules
    assert not (tmp_path / "harm").exists()
    held = tensors_of_pickle(file)["settings"]
    assert isinstance(held, Foreign)
    assert type(held).__name__ == "module_of_a_stranger.Settings"


def test_a_torchscript_archive_is_told(tmp_path: Path) -> None:
    file = written(tmp_path, {"net": state()})
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("net/constants.pkl", b"")
    assert "is a TorchScript archive; save it with torch.save(" in refusal(file)
    with pytest.raises(pickle.UnpicklingError, match="TorchScript"):
        tensors_of_pickle(file)


def rewritten(file: Path, change: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    """``file`` with other contents of some records."""
    with zipfile.ZipFile(file) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in records.items():
            archive.writestr(name, change.get(name.partition("/")[2], content))
    return file


HOSTILE: dict[str, Callable[[Path], Path]] = {
    "half a storage": lambda file: rewritten(file, {"data/0": b"\0" * 8}),
    "bytes of another processor": lambda file: rewritten(file, {"byteorder": b"big"}),
    "compressed": lambda file: rewritten(file, {}, zipfile.ZIP_DEFLATED),
    "a memo of 32 GB": lambda file: rewritten(file, {"data.pkl": b"\x80\x02}r\xff\xff\xff\xff."}),
    "a tensor beyond its storage": lambda file: rewritten(
        file,
        {"data.pkl": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
         b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK$tQK\x00M\xff\x7f\x85K\x01\x85\x89NtR."},
    ),
    "a function that is written to": lambda file: rewritten(
        file, {"data.pkl": b"\x80\x02ccollections\nOrderedDict\nN}X\x06\x00\x00\x00__eq__Ns\x86b."}
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_archives_are_refused(tmp_path: Path, what: str) -> None:
    file = HOSTILE[what](written(tmp_path, {"mode": Mode.FAST, "net": state()}))
    with pytest.raises((pickle.UnpicklingError, RuntimeError, TypeError)):
        tensors_of_pickle(file)
    assert len(refusal(file).splitlines()) == 1


def test_modules_nested_without_end_are_refused(tmp_path: Path) -> None:
    """Each level refers to the one below twice, so that twenty levels would be 2**20 tensors."""
    inner = Module({"weight": 1.0}, {})
    for _ in range(20):
        inner = Module({}, {"a": inner, "b": inner})
    file = written(tmp_path, {})
    rewritten(file, {"data.pkl": pickle.dumps(inner, 2)})
    with pytest.raises(pickle.UnpicklingError, match="too many tensors"):
        tensors_of_pickle(file)


class Module:
    """Looks like a module of torch to whoever reads its pickle."""

    def __init__(self, parameters: dict[str, float], modules: dict[str, Module]) -> None:
        self._parameters = parameters
        self._modules = modules
