"""The folder like those on the Hugging Face hub: loads without raprune, tells what was pruned, runs nobody's text."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from raprune.artefact.plan import parse_plan
from raprune.errors import InputError
from raprune.export.card import card
from raprune.export.exporting import Exported, Wanted, export_trial
from raprune.export.formats.hugging_face import HuggingFace
from raprune.registry import Settings
from tests.export.conftest import OwnTrial
from tests.export.isolated import run_isolated
from tests.export.test_round_trips import agree, noise
from tests.test_shape import ROOT


@pytest.fixture(scope="module")
def exported(own_trial: OwnTrial, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    folder = tmp_path_factory.mktemp("hub") / "pruned"
    return export_trial(own_trial.folder, Wanted("hugging_face", folder), allow_import=True)


def test_it_loads_without_raprune(own_trial: OwnTrial, exported: Exported, tmp_path: Path) -> None:
    assert max(of.largest for of in exported.differences.values()) <= 1e-4
    assert [(m.split, m.score, m.others) for m in exported.scores] == [
        (split, own_trial.trial.row[f"{split}_score"], "") for split in ("val", "test")
    ]
    images = noise(own_trial.trial)
    run_isolated(tmp_path, {exported.file: images})
    agree(own_trial.trial, exported.file, images)


def test_its_files_tell_what_it_is(own_trial: OwnTrial, exported: Exported) -> None:
    plan, folder = own_trial.trial.plan.to_ship(), exported.file
    assert exported.num_bytes == sum(file.stat().st_size for file in folder.iterdir())
    assert sorted(file.name for file in folder.iterdir()) == [
        "README.md", "config.json", "model.safetensors", "modeling.py", "plan.json", "preprocessor_config.json",
    ]  # fmt: skip
    assert parse_plan((folder / "plan.json").read_text(), "plan") == plan
    config = json.loads((folder / "config.json").read_text())
    assert config["id2label"] == {"0": "a", "1": "b", "2": "c"}
    assert (config["num_channels"], config["image_size"]) == (1, [9, 7])
    network = own_trial.trial.networks["pruned"].state_dict()
    tensors = load_file(folder / "model.safetensors")
    for name in ("stem.weight", "last.bias", "norm.running_mean", "head.weight"):
        assert torch.equal(tensors[name], network[name])
    text = (folder / "README.md").read_text()
    filters, kept = sum(plan.num_filters.values()), sum(plan.num_kept.values())
    assert f"| filters | {filters} | {kept} | {1 - kept / filters:.1%} |" in text
    assert f"| `stem` | {plan.num_filters['stem']} | {plan.num_kept['stem']} |" in text
    row = own_trial.trial.row
    assert f"| {row['baseline_test_score']:.2f} | {row['test_score']:.2f} |" in text
    assert "bound to 2 points" in text
    assert all(str(ROOT).encode() not in file.read_bytes() for file in folder.iterdir())


def test_the_limit_of_the_drop_is_told_where_a_guard_measured_it(own_trial: OwnTrial) -> None:
    plan, row = own_trial.trial.plan, own_trial.trial.row
    without = card(plan, {**row, "score_drop_limit": None})
    assert "No guard measured how much it may lose" in without
    assert "On new images the drop is at most 1.25 points, with a confidence of 95%" in card(
        plan, {**row, "score_drop_limit": 1.25}
    )


def test_names_of_a_stranger_stay_text(own_trial: OwnTrial, tmp_path: Path) -> None:
    """A results folder may be anybody's: a name can end neither the docstring nor a cell of a table."""
    trial = own_trial.trial
    name = 'x"""\nraise SystemExit("harm")\n"""\\'
    layers = {"`<b>|layer": 8}
    plan = trial.plan.model_copy(update={"study": name, "trial_id": name, "num_filters": layers, "num_kept": layers})
    example = torch.zeros(2, *trial.input_shape)
    HuggingFace(Settings()).write(trial.networks["pruned"], example, plan, tmp_path)
    tree = ast.parse((tmp_path / "modeling.py").read_text())
    assert [type(node).__name__ for node in tree.body] == [
        "Expr", "ImportFrom", "ImportFrom", "Import", "ImportFrom", "ImportFrom", "Assign", "ClassDef", "FunctionDef",
    ]  # fmt: skip
    assert "harm" in str(ast.get_docstring(tree))
    text = card(plan, trial.row)
    assert "| `<b>/layer` |" in text
    assert '\nraise SystemExit("harm")' not in text


def test_only_an_export_is_replaced(own_trial: OwnTrial, exported: Exported, tmp_path: Path) -> None:
    def refused(folder: Path, force: bool = False) -> str:
        with pytest.raises(InputError) as caught:
            export_trial(own_trial.folder, Wanted("hugging_face", folder, force=force), allow_import=True)
        return str(caught.value)

    assert refused(exported.file) == f"{exported.file} exists; --force (in Python force=True) replaces it"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years")
    assert "holds other files than those of an export" in refused(tmp_path / "mine", force=True)
    assert refused(tmp_path / "mine" / "thesis.tex").endswith("thesis.tex is a file; name a folder")
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years"
    (exported.file / "left_over.txt").touch()
    export_trial(own_trial.folder, Wanted("hugging_face", exported.file, force=True), allow_import=True)
    assert not (exported.file / "left_over.txt").exists()
    assert not [file for file in exported.file.parent.iterdir() if file.name.startswith(".")]
