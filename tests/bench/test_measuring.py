"""Runs that take turns, backends that agree or say why they are left out, memory, rows."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import fx, nn

from raprune.artefact.trials import TrialNetworks
from raprune.bench import backends, measuring, memory
from raprune.bench.backends import Prepared, Unavailable, images, prepare, store
from raprune.bench.measuring import BenchSettings, measure
from raprune.bench.memory import peak_memory_bytes
from raprune.bench.timing import Times, in_turn
from raprune.results import SCHEMAS
from tests.bench.trials import SHAPE


def test_runs_take_turns_and_the_warm_up_does_not_count() -> None:
    called: list[str] = []
    times = in_turn([lambda: called.append("a"), lambda: called.append("b")], runs=3, warm_up=2)
    assert "".join(called) == "abba" + "abba" + "ab"
    assert [len(of.seconds) for of in times] == [3, 3]


def test_quartiles_by_hand() -> None:
    times = Times((4.0, 1.0, 2.0, 3.0, 10.0))
    assert times.quartiles == (2.0, 3.0, 4.0)
    assert (times.median, times.mean) == (3.0, 4.0)
    assert Times((2.0,)).quartiles == (2.0, 2.0, 2.0)


@pytest.mark.parametrize(
    ("network", "backend"),
    [
        ("baseline", "eager"), ("pruned", "eager"), ("pruned", "onnxruntime"),
        pytest.param("baseline", "onnxruntime", marks=pytest.mark.slow),  # of the same operators, less the gathers
    ],
)  # fmt: skip
def test_a_backend_gives_what_the_network_gives(
    independent: TrialNetworks, tmp_path: Path, backend: str, network: str
) -> None:
    shape = (3, *SHAPE)
    store(backend, independent.networks[network], shape, tmp_path / "x")
    prepared = prepare(backend, tmp_path / "x", shape, "cpu", 1)
    with torch.inference_mode():
        expected = independent.networks[network](torch.from_numpy(images(shape))).numpy()
    np.testing.assert_allclose(prepared.output(), expected, rtol=1e-4, atol=1e-5)
    assert backends.version(backend)[0].isdigit()


def test_what_is_not_installed_is_named_with_its_extra(
    independent: TrialNetworks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else find(name))
    with pytest.raises(Unavailable, match=r"onnxscript is not installed; pip install 'raprune\[onnx\]' brings it"):
        store("onnxruntime", independent.networks["pruned"], (1, *SHAPE), tmp_path / "x")


def test_a_missing_compiler_is_a_sentence(
    independent: TrialNetworks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(network: nn.Module, dynamic: bool) -> None:
        raise RuntimeError("no compiler\nand much more")

    monkeypatch.setattr(torch, "compile", fail)
    store("compiled", independent.networks["pruned"], (1, *SHAPE), tmp_path / "x")
    with pytest.raises(Unavailable, match=r"batch 1, is left out: RuntimeError: no compiler$"):
        prepare("compiled", tmp_path / "x", (1, *SHAPE), "cpu", 1)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(Unavailable, match=r"batch 1, is left out: torch.compile needs a C\+\+"):
        prepare("compiled", tmp_path / "x", (1, *SHAPE), "cpu", 1)


def test_a_gpu_without_a_package_for_it_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="onnxruntime on mps is left out"):
        prepare("onnxruntime", tmp_path / "x", (1, *SHAPE), "mps", 1)


@pytest.mark.slow
def test_a_compiled_network_gives_what_the_network_gives(independent: TrialNetworks) -> None:
    measured = measure(independent, BenchSettings(runs=2, batch_sizes=(2,), backends=("compiled",)))
    assert measured.notes == []
    assert [cell.backend for cell in measured.cells] == ["compiled"]


@pytest.mark.skipif(not memory.CLEAR.exists(), reason="the system keeps no high-water mark that can be reset")
def test_peak_memory_holds_the_activations(tmp_path: Path) -> None:
    """32 channels of 128 x 128 pixels in and out of a ReLU, 16 images: twice 32 MiB, and little else."""
    network = nn.Sequential(nn.Conv2d(1, 32, 1), nn.ReLU())
    graph = fx.symbolic_trace(network)
    torch.save(graph, tmp_path / "x")
    found = peak_memory_bytes("eager", tmp_path / "x", (16, 1, 128, 128), "cpu", 1)
    assert found is not None
    assert 64 <= found / 2**20 < 80


def test_a_process_that_does_not_survive_is_told(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"no network")
    with pytest.raises(Unavailable, match="eager on cpu, batch 2, is left out: "):
        peak_memory_bytes("eager", tmp_path / "x", (2, *SHAPE), "cpu", 1)


def no_memory(backend: str, file: Path, shape: Sequence[int], device: str, threads: int) -> None:
    """Stands in for a process, where memory is not what is tested."""


@pytest.mark.parametrize(
    "backends", [("eager",), pytest.param(("eager", "onnxruntime"), marks=pytest.mark.slow)], ids=len
)
def test_rows_are_complete_and_unknown_is_null(
    independent: TrialNetworks, backends: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "peak_memory_bytes", no_memory)
    monkeypatch.setattr(measuring, "devices", lambda: ["cpu"])
    settings = BenchSettings(threads=1, runs=3, batch_sizes=(2,), backends=backends)
    told: list[str] = []
    measured = measure(independent, settings, told.append)
    rows = measured.rows(independent, settings)
    assert measured.notes == []
    assert [(r["backend"], r["batch_size"], r["network"]) for r in rows] == [
        (backend, 2, network) for backend in backends for network in ("baseline", "pruned")
    ]
    for row in rows:
        assert {"study", "trial_id", *row} == set(SCHEMAS["speed"].names)
        assert 0 < row["lower_quartile_s"] <= row["median_s"] <= row["upper_quartile_s"]
        assert (row["num_runs"], row["threads"], row["peak_memory_bytes"]) == (3, 1, None)
        assert row["macs"] == independent.macs[row["network"]]
    assert told == [f"{backend} on cpu, batch 2" for backend in backends]


def test_a_backend_that_is_wrong_or_fails_has_no_rows(
    independent: TrialNetworks, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(backend: str, file: Path, shape: Sequence[int], device: str, threads: int) -> Prepared:
        if backend == "onnxruntime":
            raise Unavailable("onnxruntime is left out: no such thing")
        return Prepared(lambda: None, lambda: np.zeros((shape[0], 10), np.float32))

    monkeypatch.setattr(measuring, "peak_memory_bytes", no_memory)
    monkeypatch.setattr(measuring, "devices", lambda: ["cpu"])
    monkeypatch.setattr(measuring, "prepare", wrong)
    monkeypatch.setattr(measuring, "store", lambda *_: None)
    settings = BenchSettings(runs=1, batch_sizes=(1, 2), backends=("eager", "onnxruntime"))
    measured = measure(independent, settings)
    assert measured.cells == []
    assert measured.notes == [
        "eager on cpu, batch 1, is left out: its output differs from the network's",
        "eager on cpu, batch 2, is left out: its output differs from the network's",
        "onnxruntime is left out: no such thing",
    ]
