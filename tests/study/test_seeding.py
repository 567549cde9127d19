"""A sweep of the seed repeats the whole study: baseline, split and batches too, but for what the file sets itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from raprune.study import load_study
from raprune.study.schema import TrialSpec

TEXT = """
name: seeds
model: {name: vgg16, width: 0.0625}
dataset: {name: digits, num_val: 200}
drop_bound: 2.0
sweep: {seed: [0, 3]}
"""


def trials(folder: Path, text: str = TEXT, *overrides: str) -> list[TrialSpec]:
    file = folder / "seeds.yaml"
    file.write_text(text)
    return [*load_study(file, overrides).trials]


def seeds(trial: TrialSpec) -> tuple[int, ...]:
    return trial.seed, trial.data_seed, trial.baseline.seed, trial.dataset.settings["split_seed"]


def test_a_swept_seed_is_that_of_everything(tmp_path: Path) -> None:
    first, other = trials(tmp_path)
    assert (seeds(first), seeds(other)) == ((0, 0, 0, 0), (3, 3, 3, 3))
    assert first.baseline_key != other.baseline_key
    assert first.trial_id == trials(tmp_path, TEXT.replace("sweep: {seed: [0, 3]}", ""))[0].trial_id


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("data_seed=1", (3, 1, 3, 3)),
        ("baseline.seed=1", (3, 3, 1, 3)),
        ("dataset.split_seed=1", (3, 3, 3, 1)),
        ("sweep.data_seed=[1]", (3, 1, 3, 3)),
        ("sweep.dataset=[{name: digits, split_seed: 1}]", (3, 3, 3, 1)),
        ("dataset=digits", (3, 3, 3, 3)),
    ],
)
def test_what_is_set_stays(tmp_path: Path, override: str, expected: tuple[int, ...]) -> None:
    text = TEXT.replace("dataset: {name: digits, num_val: 200}\n", "") if "dataset=" in override else TEXT
    assert seeds(trials(tmp_path, text, override)[1]) == expected


def test_a_checkpoint_keeps_its_split(tmp_path: Path) -> None:
    found = trials(tmp_path, TEXT, "baseline.checkpoint=own.safetensors")
    assert [seeds(trial) for trial in found] == [(0, 0, 0, 0), (3, 3, 0, 0)]
    assert len({trial.baseline_key for trial in found}) == 1


def test_a_seed_that_is_not_swept_is_that_of_the_draws(tmp_path: Path) -> None:
    (trial,) = trials(tmp_path, TEXT.replace("sweep: {seed: [0, 3]}", "seed: 3"))
    assert seeds(trial) == (3, 0, 0, 0)


def test_data_without_a_dealt_split_have_no_such_seed(tmp_path: Path) -> None:
    (tmp_path / "sets.py").write_text("def load(number=3): ...\n")
    text = TEXT.replace("{name: digits, num_val: 200}", "{import: 'sets:load'}").replace("vgg16", "vgg16")
    import sys

    sys.path.insert(0, str(tmp_path))
    try:
        assert [trial.dataset.settings for trial in trials(tmp_path, text)] == [{}, {}]
    finally:
        sys.path.remove(str(tmp_path))
