"""Fixtures: where real data are, one Ray cluster for each process, and what is made once for all processes."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
if processes := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 0)):  # several processes share the cores, not each all
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))

from tests.launch.runs import TRAINED, run_tiny
from tests.once import made_once, of_the_run
from tests.tiny import Trained, small_digits, train_small


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported and collected stays: it is not searched for garbage, neither now nor later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With ``--dist loadfile``, the files that need Ray go to one process, which starts the only cluster."""
    if config.getvalue("dist") != "loadfile":
        return None
    from tests.units import ByFileAndRay

    return ByFileAndRay(config, log)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data, or a skip that says what to set."""
    root = os.environ.get("RAPRUNE_DATA")
    if not root or not Path(root).is_dir():
        pytest.skip("needs real data: set RAPRUNE_DATA to a folder with cifar10/ and models/")
    return Path(root)


@pytest.fixture(scope="session", autouse=True)
def _trained_baselines(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No process of a test run trains a baseline of the tiny study that another has trained."""
    TRAINED[:] = [of_the_run(tmp_path_factory) / "baselines"]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A small network trained on real digits, once for all tests."""
    import torch

    made = made_once(
        tmp_path_factory, "trained", lambda folder: torch.save(train_small().network, folder / "network.pt")
    )
    torch.set_num_threads(1)  # as where it is trained
    return Trained(torch.load(made / "network.pt", weights_only=False), small_digits())


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """A local Ray cluster of two cores, shared by all tests that need one."""
    import ray  # before ``connect``, as a program may; Ray reads how to authenticate when it is imported

    from raprune.launch.cluster import connect
    from raprune.study.schema import EvaluatorsSpec

    os.environ.setdefault("PYTHONPATH", str(Path(__file__).resolve().parents[1]))
    assert not ray.is_initialized(), "a test before this one started a Ray and left it"
    connect(None, "raprune-tests", EvaluatorsSpec(), 2, 1, cpus=2)
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny study's folder, run once in process: what every other run must equal."""

    def make(folder: Path) -> None:
        assert run_tiny(folder, 0)[0].exit_code == 0

    return made_once(tmp_path_factory, "reference", make) / "out"


@pytest.fixture(scope="session")
def small_study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A study file whose run takes seconds, and the folder of its finished run with all kinds of files."""
    from raprune.launch import run_study
    from raprune.study import load_study
    from tests.fuzz.small import STUDY as SMALL
    from tests.launch.runs import Watch

    def make(folder: Path) -> None:
        file = folder / "small.yaml"
        file.write_text(SMALL)
        assert run_study(load_study(file), folder / "done", Watch(), num_evaluators=0).exit_code == 0

    folder = made_once(tmp_path_factory, "small", make)
    return folder / "small.yaml", folder / "done"
