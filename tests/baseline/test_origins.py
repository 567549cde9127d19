"""What a trial was built from stands in its folder: a matched trial follows what its partner decided."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from raprune.baseline.origins import ORIGIN_FILE, check_origin, note_origin, origin_of
from raprune.engine.workload import Baseline
from raprune.errors import InputError
from raprune.identity import Sources
from raprune.results import TrialStore
from raprune.study import document_of, expand
from raprune.study.schema import TrialSpec
from tests.analysis.make_tables import layer_row, trial_row
from tests.bench.trials import own

SOURCES = Sources("network", "weights", "code", "data", "test", "these versions")
BASELINE = Baseline(
    "b", "nowhere", 90.0, None, 10, 1, 1, 1, 0.1, None, 0.1, "percent", 10, (1, 8, 8),
    sources=SOURCES, weights_fingerprint="file",
)  # fmt: skip


@pytest.fixture
def trial() -> TrialSpec:
    study = {"name": "x", "model": "vgg16", "dataset": "digits", "drop_bound": 5.0, "method": "magnitude"}
    return expand(document_of(study, "here")).trials[0]


def decided(folder: Path, num_kept: int) -> TrialStore:
    """A completed trial that kept so many filters."""
    store = TrialStore(folder, "x", "partner")
    store.write_layer(0, own(layer_row("partner", 0, num_kept=num_kept, num_decided=num_kept)), [], [])
    store.write_trial(own(trial_row("partner")))
    return store


def test_a_matched_trial_goes_with_what_its_partner_decided(tmp_path: Path, trial: TrialSpec) -> None:
    store = TrialStore(tmp_path, "x", "matched")
    note_origin(store, trial, BASELINE, decided(tmp_path, 6))
    note_origin(store, trial, BASELINE, decided(tmp_path, 6))
    check_origin(store, trial, SOURCES, "file", decided(tmp_path, 6))
    with pytest.raises(
        InputError, match=f"{store.folder} was matched to earlier decisions of trial partner, .*: delete"
    ):
        note_origin(store, trial, BASELINE, decided(tmp_path, 5))


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("network", "model vgg16 now builds another network"),
        ("weights", "model vgg16 now builds it with other weights"),
        ("code", "is now other code"),
        ("data", "on other images or labels of train and val than data set digits returns now"),
        ("test", "on other images, labels or class names of test"),
    ],
)
def test_each_part_is_named(tmp_path: Path, trial: TrialSpec, part: str, said: str) -> None:
    store = TrialStore(tmp_path, "x", "t")
    note_origin(store, trial, BASELINE, None)
    other = replace(SOURCES, **{part: "other"})
    with pytest.raises(InputError, match=said):
        check_origin(store, trial, other, "", None)
    elsewhere = replace(other, made_by="other versions")
    if part in ("data", "test"):
        with pytest.raises(InputError, match=said):
            check_origin(store, trial, elsewhere, "", None)
    else:
        check_origin(store, trial, elsewhere, "", None)  # its form may be another there: the baseline is scored instead
    with pytest.raises(InputError, match="was pruned from another baseline"):
        check_origin(store, trial, None, "other file", None)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"network": ""}'])
def test_a_damaged_note_is_told(tmp_path: Path, text: str) -> None:
    store = TrialStore(tmp_path, "x", "t")
    assert origin_of(store) is None
    store.folder.mkdir(parents=True)
    (store.folder / ORIGIN_FILE).write_text(text)
    with pytest.raises(InputError, match=f"made_from.json is damaged .*: delete {store.folder} to run its trial again"):
        origin_of(store)
