"""The memo's keys and files: misses, two writers, a torn line, and what a later run uses again."""

from __future__ import annotations

import os
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from raprune.engine.workload import Baseline, Workload
from raprune.evaluators.memo import Conditions, Memo
from raprune.evaluators.memo.conditions import SCOPE_DIGITS, key_of
from raprune.plugins.datasets.base import Split, Splits
from raprune.plugins.datasets.contents import of_data
from raprune.plugins.scores.base import Tally
from raprune.study.fidelity import FidelitySpec
from raprune.study.parts import FinetuneLength, FinetuneSpec, ScoringSpec
from raprune.study.schema import Choice, ModelChoice
from tests.waiting import until

FINETUNE = FinetuneSpec(before_reward=FinetuneLength(steps=2))
WORKLOAD = Workload(
    "key", ModelChoice(name="vgg16"), Choice(name="digits"), Choice(name="top1_accuracy"), ScoringSpec(), FINETUNE,
    data_seed=0, baseline_key="baseline", folder="nowhere", residual="independent",
)  # fmt: skip
BASELINE = Baseline(
    "baseline", "nowhere", 90.0, None, 10, 1, 1, 1, 0.1, None, 0.1, "percent", 10, (1, 8, 8),
    data_fingerprint="images", weights_fingerprint="weights", val_order_fingerprint="order",
)  # fmt: skip
CONDITIONS = Conditions.of(WORKLOAD, BASELINE, "cpu")
MASK = b"\1\0\1"
DONE = Tally([7], [10], 10, 70.0, complete=True)
EARLY = Tally([1], [4], 4, 70.0, complete=False)


def key(conditions: Conditions = CONDITIONS, state: str = "state", layer: str = "conv", mask: bytes = MASK) -> str:
    return key_of(conditions.scope(state, layer), mask)


def known(memo: Memo, *keys: str) -> list[Tally | None]:
    """As a process finds it that has just begun."""
    fresh = Memo(memo.folder)
    return [fresh.find([k], None).get(k) for k in keys]


PARTS: dict[str, Any] = {
    "finetune": {**CONDITIONS.finetune, "batch_size": 65},
    "fidelity": {**CONDITIONS.fidelity, "val_images": 5},
    "score": {"name": "top1_accuracy", "settings": {"other": 1}},
    "scoring": {**CONDITIONS.scoring, "threads": 2},
    "data_seed": 1,
    "residual": "coupled",
    "data": "other images",
    "weights": "other weights",
    "val_order": "another order",
    "code": "own",
    "device_type": "cuda",
    "split": "train",
    "torch_version": "1.0",
    "numerics_version": 0,
}


@pytest.mark.parametrize("part", [field.name for field in fields(Conditions)])
def test_each_condition_is_part_of_the_key(part: str, tmp_path: Path) -> None:
    memo = Memo(tmp_path)
    memo.add({key(): DONE})
    other = replace(CONDITIONS, **{part: PARTS[part]})
    assert known(memo, key(), key(other)) == [DONE, None]


def test_state_layer_and_mask_are_part_of_the_key(tmp_path: Path) -> None:
    memo = Memo(tmp_path)
    memo.add({key(): DONE})
    others = [key(state="other"), key(layer="other"), key(mask=b"\1\1\1"), key(mask=MASK + b"\0")]
    assert known(memo, key(), *others) == [DONE, None, None, None, None]
    assert len({key(), *others}) == 5


CHANGES: dict[str, Any] = {
    "score": Choice(name="psnr"),
    "scoring": ScoringSpec(batch_size=50),
    "finetune": FinetuneSpec(before_reward=FinetuneLength(epochs=2)),
    "data_seed": 1,
    "residual": "coupled",
    "fidelity": FidelitySpec(racing=2.0),
}
ELSEWHERE = {"key", "model", "dataset", "baseline_key", "folder", "given"}
"""In the state's hash, the fingerprints, or no part of what is computed."""


@pytest.mark.parametrize("name", [field.name for field in fields(Workload) if field.name not in ELSEWHERE])
def test_a_workloads_field_changes_the_key(name: str) -> None:
    """A new field of the workload belongs into the key, and here, or is named in ELSEWHERE on purpose."""
    other = replace(WORKLOAD, **{name: CHANGES[name]})
    assert key(Conditions.of(other, BASELINE, "cpu")) != key()


RECIPE: dict[str, Any] = {
    "before_reward": FinetuneLength(steps=3),
    "learning_rate": 0.02,
    "momentum": 0.8,
    "weight_decay": 0.0,
    "batch_size": 32,
}
LATER: dict[str, Any] = {"after_layer": FinetuneLength(steps=9), "at_end": FinetuneLength(steps=9)}


@pytest.mark.parametrize("name", FinetuneSpec.model_fields)
def test_only_the_finetune_before_the_reward_counts(name: str) -> None:
    spec = FINETUNE.model_copy(update={name: (RECIPE | LATER)[name]})
    found = key(Conditions.of(replace(WORKLOAD, finetune=spec), BASELINE, "cpu"))
    assert (found == key()) == (name in LATER)


def test_an_unprepared_baseline_has_no_key() -> None:
    with pytest.raises(ValueError, match="has no fingerprints"):
        Conditions.of(WORKLOAD, replace(BASELINE, data_fingerprint=""), "cpu")


def test_the_fingerprint_of_data() -> None:
    def split(seed: int) -> Split:
        images = torch.randint(0, 256, (6, 1, 2, 2), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
        return Split(images, torch.arange(6) % 3)

    data = Splits(split(0), split(1), split(2), 3, (0.5,), (0.25,))
    others = [replace(data, **{name: replace(split(0), labels_B=torch.zeros(6).long())}) for name in ("train", "val")]
    others += [replace(data, **{name: getattr(data, name).take(torch.arange(5, -1, -1))}) for name in ("train", "val")]
    others += [replace(data, mean=(0.4,)), replace(data, std=(0.2,)), replace(data, num_classes=4)]
    assert len({of_data(d) for d in (data, *others)}) == 8
    strided = Split(split(0).images_BCHW.contiguous(memory_format=torch.channels_last), split(0).labels_B)
    assert of_data(data) == of_data(replace(data, test=split(3))) == of_data(replace(data, train=strided))


def test_a_torn_line_is_not_read_and_is_read_once_it_is_whole(tmp_path: Path) -> None:
    memo = Memo(tmp_path, "writer")
    scope = CONDITIONS.scope("state", "conv")
    first, second = key(), key(mask=b"\1\1\1")
    memo.add({first: DONE, second: DONE})
    file = tmp_path / "writer.jsonl"
    text = file.read_bytes()
    file.write_bytes(text[:-9])
    reader = Memo(tmp_path)
    assert reader.find([first, second], None) == {first: DONE}
    file.write_bytes(text)
    reader.look(scope)
    assert reader.find([first, second], None) == {first: DONE, second: DONE}
    file.write_bytes(b'{"key":"' + scope.encode() + b"\0\0\0\n" + text)
    assert known(memo, first, second) == [DONE, DONE]
    file.write_bytes(text.replace(b'"highest":70.0', b'"highest":"70"', 1))
    assert known(memo, first, second) == [None, DONE]  # of another type than a line has


def test_two_writers_read_each_other(tmp_path: Path) -> None:
    one, two = Memo(tmp_path, "one"), Memo(tmp_path, "two")
    keys = [key(mask=bytes([1, n])) for n in range(4)]
    for writer, mine in ((one, keys[:2]), (two, keys[2:])):
        writer.add(dict.fromkeys(mine, DONE))
    assert one.find(keys, None) == two.find(keys, None) == dict.fromkeys(keys, DONE)
    later = key(mask=b"\1\5")
    two.add({later: DONE})
    until(lambda: one.find([later], None))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["one.jsonl", "two.jsonl"]


def test_more_images_replace_fewer_whoever_saw_them(tmp_path: Path) -> None:
    one, two = Memo(tmp_path, "one"), Memo(tmp_path, "two")
    one.add({key(): EARLY})
    assert two.find([key()], 80.0) == {key(): EARLY}
    two.add({key(): DONE})
    assert one.find([key()], 80.0) == {key(): EARLY}  # that decides, so nobody looks
    one.look(CONDITIONS.scope("state", "conv"))
    assert one.find([key()], 60.0) == {key(): DONE}
    size = (tmp_path / "one.jsonl").stat().st_size
    one.add({key(): EARLY})
    assert (tmp_path / "one.jsonl").stat().st_size == size
    assert known(one, key()) == [DONE]


def test_a_line_that_was_torn_is_ended_before_the_next(tmp_path: Path) -> None:
    """Of a writer of the same name: a full disk tears what one trial writes, and the next one's process is the same."""
    torn, whole = key(layer="a"), key(layer="b")
    Memo(tmp_path, "writer").add({torn: DONE})
    file = tmp_path / "writer.jsonl"
    os.truncate(file, file.stat().st_size - 9)
    Memo(tmp_path, "writer").add({whole: DONE})
    assert known(Memo(tmp_path), torn, whole) == [None, DONE]


def test_a_memo_writes_one_file_and_may_lose_it(tmp_path: Path) -> None:
    folder = tmp_path / "memo"
    writer = Memo(folder)
    for layer in "abcdefgh":  # more than are held in memory
        writer.add({key(layer=layer): DONE})
    assert known(Memo(folder), *(key(layer=layer) for layer in "abcdefgh")) == [DONE] * 8
    (file,) = folder.iterdir()
    memo = Memo(folder)
    assert memo.find([key(layer="a")], None)
    file.unlink()
    folder.rmdir()
    assert memo.find([key(layer="b")], None) == {}
    memo.add({key(layer="c"): DONE})
    assert known(memo, key(layer="c")) == [DONE]


def test_other_layers_are_forgotten_and_found_again(tmp_path: Path) -> None:
    memo = Memo(tmp_path)
    layers = [f"layer{n}" for n in range(9)]
    for layer in layers:
        memo.add({key(layer=layer): DONE})
    assert len(memo._scopes) < len(layers)
    assert all(memo.find([key(layer=layer)], None) for layer in layers)


def test_a_file_that_was_deleted_and_written_anew_is_read(tmp_path: Path) -> None:
    """Its process goes on writing where others have read further."""
    writer, reader = Memo(tmp_path, "writer"), Memo(tmp_path, "reader")
    keys = [key(mask=bytes([1, n])) for n in range(9)]
    writer.add(dict.fromkeys(keys[:8], DONE))
    assert len(reader.find(keys[:8], None)) == 8
    (tmp_path / "writer.jsonl").unlink()
    writer.add({keys[8]: DONE})
    reader.look(keys[8][:SCOPE_DIGITS])
    assert reader.find(keys[8:], None) == {keys[8]: DONE}


def test_what_may_wait_does_not_wait_for_ever(tmp_path: Path) -> None:
    memo = Memo(tmp_path, "writer")
    keys = [key(mask=bytes([1, n])) for n in range(3)]
    memo.add({keys[0]: DONE}, may_wait=True)
    memo._next_write = time.monotonic() + 100
    memo.add({keys[1]: DONE}, may_wait=True)
    assert known(Memo(tmp_path), *keys[:2]) == [DONE, None]
    memo.flush()
    assert known(Memo(tmp_path), *keys[:2]) == [DONE, DONE]
