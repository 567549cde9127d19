"""From a trial's folder to its two networks, and every folder that is not a trial's."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pytest
import torch

from raprune.artefact.trials import TrialNetworks, open_trial
from raprune.errors import InputError
from raprune.network.surgery import shrink
from raprune.network.weights import load_safetensors, save_safetensors
from raprune.results import TrialStore
from tests.analysis.make_tables import STUDY, unfinished_row
from tests.bench.trials import SHAPE, own


def test_both_networks_are_those_of_the_trial(independent: TrialNetworks) -> None:
    images = torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(1))
    smaller = shrink(independent.traced, independent.keep_masks)
    with torch.inference_mode():
        assert torch.equal(independent.networks["baseline"](images), independent.traced.network(images))
        assert torch.equal(independent.networks["pruned"](images), smaller.eval()(images))
    assert independent.macs["pruned"] < independent.macs["baseline"]
    assert independent.macs_ratio == independent.macs["baseline"] / independent.macs["pruned"]
    assert (independent.scoring.batch_size, independent.scoring.threads) == (40, 1)


def test_networks_can_be_stored_whole(independent: TrialNetworks) -> None:
    images = torch.randn(2, *SHAPE)
    for network in independent.networks.values():
        file = io.BytesIO()
        torch.save(network, file)
        file.seek(0)
        with torch.inference_mode():
            assert torch.equal(torch.load(file, weights_only=False)(images), network(images))


def test_a_study_lists_its_trials(folder: Path) -> None:
    study_dir = folder.parent.parent
    TrialStore(study_dir, STUDY, "f").write_trial(own(unfinished_row("f", "failed", "no")))
    for given in (study_dir, study_dir / "trials"):
        with pytest.raises(InputError, match="is a study; name one of its trials") as caught:
            open_trial(given)
        first, second = str(caught.value).splitlines()[1:]
        assert first == f"  raprune bench {folder}  # drop_bound 2.0, method agent"
        assert second.endswith("# drop_bound 2.0, method agent, failed")


def test_a_folder_that_is_no_trials_is_told(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(InputError, match="is not a folder"):
        open_trial(tmp_path / "nowhere")
    with pytest.raises(InputError, match="is not a trial's folder"):
        open_trial(tmp_path)
    with pytest.raises(InputError, match="is not a trial's folder"):
        open_trial(folder / "model")


def test_a_trial_that_is_not_completed_is_told(folder: Path) -> None:
    store = TrialStore(folder.parent.parent, STUDY, "t")
    store.forget_row()
    with pytest.raises(
        InputError, match=r"trial t has not ended yet, and has no network; resume it with raprune study .*yaml --out"
    ):
        open_trial(folder)
    store.write_trial(own(unfinished_row("t", "failed", "no")))
    (folder / "error.txt").write_text("no")
    with pytest.raises(InputError, match=r"trial t failed \(see .*error.txt\), and has no network"):
        open_trial(folder)
    (folder / "error.txt").unlink()
    store.write_trial(own(unfinished_row("t", "stopped", None)))
    with pytest.raises(InputError, match=r"trial t had not begun when .* with a larger one: --set budget="):
        open_trial(folder)


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        ("trials/t/model/plan.json", "plan.json is missing"),
        ("trials/t/model/model.safetensors", "model.safetensors is missing"),
        ("baselines/b0/model.safetensors", "model.safetensors is missing"),
        ("baselines/b0", "contains no baseline"),
    ],
)
def test_missing_files_are_named(folder: Path, missing: str, sentence: str) -> None:
    gone = folder.parent.parent / missing
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    with pytest.raises(InputError, match=sentence):
        open_trial(folder)


def test_files_that_do_not_fit_are_named(folder: Path) -> None:
    plan = folder / "model" / "plan.json"
    good = plan.read_text()
    plan.write_text(json.dumps({"model": json.loads(good)["model"]}))
    with pytest.raises(InputError, match=r"plan.json is damaged: KeyError: 'keep_masks'"):
        open_trial(folder)
    plan.write_text(good)
    file = folder / "model" / "model.safetensors"
    weights = load_safetensors(file)
    save_safetensors(weights | {"conv1.weight": weights["conv1.weight"][:-1]}, file)
    with pytest.raises(InputError, match=r"conv1.weight is \(\d+, 3, 7, 7\), but .* in the network of model"):
        open_trial(folder)
    file.write_bytes(b"cut off")
    with pytest.raises(InputError, match="cannot be read"):
        open_trial(folder)
