"""What evaluators of a host share: the same bits as alone, computed once, and nobody waits for a dead process."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch

from raprune.engine import ExactEngine
from raprune.engine.cache import shared
from raprune.engine.cache.prefix import LocalStore
from raprune.engine.cache.shared import HostStore, remove_folder, sweep
from raprune.engine.split import Crossing
from raprune.evaluators import ray_pool
from raprune.evaluators.ray_pool import EvaluatorProcess
from raprune.network.masks import KeepMask
from raprune.network.state import State
from raprune.study.parts import EvaluatorsSpec
from tests.tiny import Trained, engine_of
from tests.waiting import until

BIG = 10**8
SPAWN = multiprocessing.get_context("spawn")


def values(seed: int, count: int = 1000) -> Crossing:
    """A batch of ``count`` floats and a little more, in every layout that a network gives."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(2, 5, 3, 4, generator=generator)
    return (
        image.contiguous(memory_format=torch.channels_last),
        7,
        image.size(),
        image.permute(0, 2, 3, 1),
        image[:, 1:4:2],
        torch.randn(3, 1, generator=generator).expand(3, 4),
        torch.tensor(2.5, dtype=torch.float64),
        torch.empty(0, 4),
        torch.randn(count, generator=generator).bfloat16(),
        torch.arange(4) > 1,
    )


def never() -> Crossing:
    raise AssertionError("it was to be read, not computed")


def same(one: Any, other: Any) -> bool:
    if not isinstance(one, torch.Tensor):
        return bool(type(one) is type(other) and one == other)
    return one.dtype == other.dtype and one.stride() == other.stride() and torch.equal(one, other)


def in_process(target: Callable[..., None], *arguments: Any) -> Any:
    process = SPAWN.Process(target=target, args=arguments, daemon=True)
    process.start()
    return process


def test_what_is_read_is_what_was_computed_strides_included(tmp_path: Path) -> None:
    one, other = HostStore("study", BIG, tmp_path), HostStore("study", BIG, tmp_path)
    first = one.batch("key", 0, lambda: values(0))
    read = other.batch("key", 0, never)
    expected = LocalStore(BIG).batch("key", 0, lambda: values(0))
    assert all(map(same, first, expected))
    assert all(map(same, read, expected))
    assert one.batch("key", 0, never) is first
    assert same(other.batch("key", 1, lambda: values(1))[0], values(1)[0])
    assert not same(other.batch("else", 0, lambda: values(2))[0], read[0])


def test_an_engine_scores_the_same_with_it(trained: Trained, tmp_path: Path) -> None:
    alone = engine_of(trained.network, trained.splits)
    state, mask = State.baseline("baseline"), KeepMask.of(torch.arange(16) > 4)
    found = []
    for _ in range(2):
        engine = engine_of(trained.network, trained.splits)
        assert isinstance(engine, ExactEngine)
        engine.store = HostStore("study", BIG, tmp_path)
        assert (
            engine.evaluate(state, "features.14", mask, None).tally
            == alone.evaluate(state, "features.14", mask, None).tally
        )
        found.append(engine.store.num_bytes)
    assert found[0] == found[1] > 0


def compute_slowly(root: Path) -> None:
    def slowly() -> Crossing:
        (root / "started").touch()
        time.sleep(float((root / "seconds").read_text()))
        return values(0)

    HostStore("study", BIG, root).batch("key", 0, slowly)


def test_one_computes_and_the_other_waits(tmp_path: Path) -> None:
    (tmp_path / "seconds").write_text("0.5")
    process = in_process(compute_slowly, tmp_path)
    until((tmp_path / "started").exists)
    assert same(HostStore("study", BIG, tmp_path).batch("key", 0, never)[0], values(0)[0])
    process.join()
    assert process.exitcode == 0


def test_a_killed_process_blocks_nobody(tmp_path: Path) -> None:
    (tmp_path / "seconds").write_text("1000")
    process = in_process(compute_slowly, tmp_path)
    until((tmp_path / "started").exists)
    os.kill(process.pid, signal.SIGKILL)
    store = HostStore("study", BIG, tmp_path)
    assert same(store.batch("key", 0, lambda: values(3))[0], values(3)[0])
    assert store.num_bytes > 0


def test_the_capacity_holds_and_the_oldest_key_goes_first(tmp_path: Path) -> None:
    store, other = HostStore("study", 20_000, tmp_path), HostStore("study", 20_000, tmp_path)
    for key in "abc":
        (other if key == "b" else store).batch(key, 0, lambda: values(0, 2000))
        assert 4000 < store.num_bytes <= 20_000
    store.batch("a", 0, never)
    held = other.batch("b", 0, never)
    store.batch("a", 0, never)
    for index in (1, 2):
        store.batch("a", index, partial(values, index, 2000))
    assert store.num_bytes <= 20_000
    store.batch("a", 0, never)
    assert same(held[0], values(0, 2000)[0])
    assert same(other.batch("c", 0, lambda: values(9))[0], values(9)[0])
    assert same(other.batch("b", 0, lambda: values(8))[0], values(8)[0])


def test_beyond_the_capacity_it_is_computed_every_time(tmp_path: Path) -> None:
    store = HostStore("study", 12_000, tmp_path)
    for index in range(4):
        assert same(store.batch("key", index, partial(values, index, 2000))[8], values(index, 2000)[8])
    assert 0 < store.num_bytes <= 12_000
    store.batch("key", 0, never)
    with pytest.raises(AssertionError, match="not computed"):
        store.batch("key", 3, never)
    assert same(store.batch("other", 0, lambda: values(0, 9000))[8], values(0, 9000)[8])
    store.batch("key", 0, never)


def test_without_free_memory_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = HostStore("study", BIG, tmp_path)
    monkeypatch.setattr(shared, "free_bytes", lambda folder: shared.RESERVE + 1000)
    assert same(store.batch("key", 0, lambda: values(0))[0], values(0)[0])
    assert store.num_bytes == 0


def test_a_file_that_goes_while_sizes_are_summed_is_no_error(tmp_path: Path) -> None:
    """Another evaluator removes its lock between the listing and the look at it: as a link to nothing does."""
    store = HostStore("study", BIG, tmp_path)
    (store.folder / "gone-0.lock").symlink_to(store.folder / "nowhere")
    first = store.batch("key", 0, lambda: values(0))
    assert store.batch("key", 0, never) is first
    assert store.num_bytes >= first[0].nbytes


def test_a_folder_that_was_taken_away_is_done_without(tmp_path: Path) -> None:
    store = HostStore("study", BIG, tmp_path)
    for file in store.folder.iterdir():
        file.unlink()
    store.folder.rmdir()
    assert same(store.batch("key", 0, lambda: values(0))[0], values(0)[0])


def test_a_failed_computation_leaves_no_lock(tmp_path: Path) -> None:
    store = HostStore("study", BIG, tmp_path)
    with pytest.raises(AssertionError, match="not computed"):
        store.batch("key", 0, never)
    assert same(HostStore("study", BIG, tmp_path).batch("key", 0, lambda: values(0))[0], values(0)[0])


def test_folders_of_the_dead_are_swept(tmp_path: Path) -> None:
    living = HostStore("living", BIG, tmp_path)
    (tmp_path / "started").touch()
    (tmp_path / "seconds").write_text("0")
    process = in_process(compute_slowly, tmp_path)
    process.join()
    dead = tmp_path / f"raprune-{os.getuid()}-study"
    assert dead.is_dir()
    HostStore("new", BIG, tmp_path)
    assert not dead.exists()
    assert living.folder.is_dir()
    sweep(tmp_path)
    assert living.folder.is_dir()


def test_the_last_to_let_go_removes_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "SHARED_MEMORY", tmp_path)
    one, other = HostStore("study", 10**6), HostStore("study", 10**6)
    assert one.folder == other.folder
    assert one.folder.parent == tmp_path
    held = one.batch("key", 0, lambda: values(0))
    one.close()
    remove_folder("study", 0.1)
    assert other.folder.is_dir()
    other.close()
    assert not other.folder.exists()
    assert same(held[0], values(0)[0])


def test_evaluators_on_a_processor_share_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "SHARED_MEMORY", tmp_path)
    monkeypatch.setattr(ray_pool, "Pulse", Mock())  # its thread would start a Ray: no cluster is joined here
    spec = EvaluatorsSpec(cache_gib=0.001)
    one, other = (EvaluatorProcess(name, spec, "cpu", (), "study") for name in ("one", "other"))
    folder = tmp_path / f"raprune-{os.getuid()}-study"
    assert folder.is_dir()
    one.let_go()
    assert folder.is_dir()
    other.let_go()
    assert not folder.exists()
    monkeypatch.setattr(ray_pool, "check_device", Mock())  # there may be no GPU: nothing is computed
    EvaluatorProcess("gpu", spec, "cuda", (), "study")
    EvaluatorProcess("naive", spec.model_copy(update={"engine": "naive"}), "cpu", (), "study")
    assert not folder.exists()
