"""``prune`` on a user's own network: what it returns, what it leaves alone, what it leaves on disk."""

from __future__ import annotations

import copy
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from raprune.api import Pruned, load_pruned, prune, running
from raprune.api.report import Report
from raprune.artefact.trials import open_trial
from raprune.console.plots import write_report
from raprune.console.progress import StudyProgress
from raprune.engine.given import digest_of_network
from raprune.errors import InputError
from raprune.network.graph import trace
from raprune.network.measure import count_macs, count_params
from raprune.results import COST_COLUMNS, read_study
from tests.api.networks import FAST, SmallNet, User


def accuracy(network: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    with torch.no_grad():
        return 100.0 * float((network(images).argmax(1) == labels).double().mean())


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("prune")


@pytest.fixture(scope="module")
def pruned(user: User, out: Path) -> Pruned:
    return prune(user.model, user.train, user.val, drop_bound=4.0, test=user.test, out=out, **FAST)


def test_the_network_is_smaller_and_scores_what_the_report_says(user: User, pruned: Pruned) -> None:
    network, report = pruned.network, pruned.report
    assert not network.training
    assert {p.device.type for p in network.parameters()} == {"cpu"}
    assert count_params(network) == report.params < report.baseline_params == count_params(user.model)
    assert count_macs(network, (1, 8, 8)) == report.macs < report.baseline_macs
    assert accuracy(network, *user.val) == report.val_score
    assert accuracy(network, *user.test) == report.test_score
    assert report.baseline_val_score == accuracy(copy.deepcopy(user.model).eval(), *user.val)
    assert report.val_score_drop == report.baseline_val_score - report.val_score <= 4.0
    assert set(network.state_dict()) == set(user.model.state_dict())


def test_hooks_are_part_of_the_network(user: User) -> None:
    """Activation clipping by a hook: the report's scores are those of the network that comes back."""
    model = copy.deepcopy(user.model)
    model.body[2].register_forward_hook(lambda module, given, out: out.clamp(max=0.5))
    model.body[1].register_forward_pre_hook(lambda module, given: (given[0] * 0.9,))
    before = accuracy(model.eval(), *user.val)
    assert before != accuracy(copy.deepcopy(user.model).eval(), *user.val)
    found = prune(model, user.train, user.val, drop_bound=20.0, **FAST)
    assert found.report.baseline_val_score == before
    assert found.report.val_score == accuracy(found.network, *user.val)
    assert found.report.params < found.report.baseline_params


def test_floats_lose_nothing(user: User, pruned: Pruned) -> None:
    """Images that are not multiples of 1/255 reach the network as they are: scores equal the user's own to the bit."""
    assert not torch.equal((user.val[0] * 255).round() / 255, user.val[0])
    assert pruned.report.row["baseline_val_score"] == accuracy(copy.deepcopy(user.model).eval(), *user.val)


def test_the_report_is_readable(pruned: Pruned) -> None:
    text, page = str(pruned.report), pruned.report._repr_html_()
    for said in (
        "python:SmallNet on python:tensors",
        "top1_accuracy on 400 validation images",
        "parameters:",
        "body.3",
    ):
        assert said in text
        assert said in page
    assert list(pruned.report.layers["layer"]) == ["body.3", "body.0"]  # from the output down
    assert (pruned.report.layers["num_kept"] <= pruned.report.layers["num_filters"]).all()
    assert "%)" in text
    assert "<table" in pruned._repr_html_()
    kept = pruned.report.layers["num_kept"] / pruned.report.layers["num_filters"]
    assert [f"width:{100 * share:.0f}%;" in page for share in kept] == [True, True]
    renamed = pruned.report.layers.assign(layer="<script>")
    assert "<script>" not in Report(pruned.report.row, renamed)._repr_html_()
    assert pruned.report.row["baseline_settings"] == "{}"  # nothing was trained


def test_a_network_that_was_not_trained_to_its_end_is_told(pruned: Pruned) -> None:
    row = dict(pruned.report.row)
    for gain, told in ((3.0, False), (17.0, True)):
        row["baseline_finetuned_val_score"] = row["baseline_val_score"] + gain
        text = str(Report(row, pruned.report.layers))
        assert ("fine-tuning alone gains 17.00 points, more than the bound" in text) == told
        assert (f"alike the drop is {17.0 + row['val_score_drop']:+.2f}" in text) == told


def test_the_users_network_is_as_it_was(user: User, out: Path) -> None:
    model = copy.deepcopy(user.model).train()
    model.body[3].weight.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    threads, draws = torch.get_num_threads(), torch.get_rng_state()
    found = prune(model, user.train, user.val, drop_bound=4.0, **FAST)
    assert model.training
    assert [name for name, p in model.named_parameters() if not p.requires_grad] == ["body.3.weight"]
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(hasattr(module, "meta") for module in model.modules())
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), draws)
    assert found.out != out
    assert found.out.name.startswith("raprune-")


def test_users_go_on_with_the_network(user: User, pruned: Pruned, tmp_path: Path) -> None:
    images = user.val[0][:3]
    expected = pruned.network(images)
    torch.save(pruned.network.state_dict(), tmp_path / "smaller.pt")
    again = copy.deepcopy(pruned.network)
    again.load_state_dict(torch.load(tmp_path / "smaller.pt", weights_only=True))
    assert torch.equal(again(images), expected)
    program = torch.export.export(pruned.network, (images,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    assert torch.allclose(program.module()(user.val[0][:5]), pruned.network(user.val[0][:5]), atol=1e-5)
    assert torch.allclose(torch.jit.trace(pruned.network, images)(images), expected, atol=1e-5)
    again.train()(images).sum().backward()
    assert all(p.grad is not None for p in again.parameters())


def test_the_same_call_goes_on_and_the_folder_is_a_studys(user: User, pruned: Pruned, out: Path) -> None:
    row = pruned.trial_dir / "trial.parquet"
    written = row.stat().st_mtime_ns
    again = prune(user.model, user.train, user.val, drop_bound=4.0, test=user.test, out=out, **FAST)
    assert row.stat().st_mtime_ns == written
    assert again.report.row == pruned.report.row
    assert again.report.folder == again.out == out
    assert again.report.lines()[-1] == f"rows, weights and settings: {out}"
    pd.testing.assert_frame_equal(again.report.layers, pruned.report.layers)
    assert torch.equal(again.network(user.val[0]), pruned.network(user.val[0]))
    assert write_report(out).is_file()
    assert not list(out.rglob("*.p*k*l*"))  # no pickle of any spelling


def test_an_interrupted_call_goes_on_from_its_layers(
    user: User, pruned: Pruned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(self: StudyProgress, trial_id: str, progress: dict[str, object]) -> None:
        if "committed_pruning_ratio" in progress:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(StudyProgress, "told", interrupt)
        with pytest.raises(KeyboardInterrupt, match="the same call with out="):
            prune(user.model, user.train, user.val, drop_bound=4.0, test=user.test, out=tmp_path, **FAST)
    (layer,) = tmp_path.glob("trials/*/layers-*.parquet")
    written = layer.stat().st_mtime_ns
    again = prune(user.model, user.train, user.val, drop_bound=4.0, test=user.test, out=tmp_path, **FAST).report
    assert layer.stat().st_mtime_ns == written
    costs = [*COST_COLUMNS["layers"]]
    pd.testing.assert_frame_equal(again.layers.drop(columns=costs), pruned.report.layers.drop(columns=costs))
    assert (again.val_score, again.test_score) == (pruned.report.val_score, pruned.report.test_score)


def test_a_budget_ends_it_with_what_it_has(user: User, pruned: Pruned, tmp_path: Path) -> None:
    budget = {"budget": {"candidates": 5}}
    ended = prune(user.model, user.train, user.val, 4.0, test=user.test, out=tmp_path, settings=budget, **FAST)
    assert ended.report.status == "stopped"
    assert "its budget is spent" in str(ended.report)
    assert accuracy(ended.network, *user.val) == ended.report.val_score
    again = prune(user.model, user.train, user.val, 4.0, test=user.test, out=tmp_path, **FAST)
    assert again.report.status == "completed"
    assert again.trial_dir == ended.trial_dir
    assert again.report.val_score == pruned.report.val_score


def test_other_weights_and_other_data_are_other_trials(user: User, pruned: Pruned, out: Path) -> None:
    model = copy.deepcopy(user.model)
    with torch.no_grad():
        model.head.bias.add_(0.01)
    other = prune(model, user.train, user.val, drop_bound=4.0, test=user.test, out=out, **FAST)
    assert other.trial_dir.name != pruned.trial_dir.name
    images = user.train[0].clone()
    images[0] += 0.01
    another = prune(user.model, (images, user.train[1]), user.val, drop_bound=4.0, test=user.test, out=out, **FAST)
    assert len({of.trial_dir.name for of in (pruned, other, another)}) == 3
    assert len(read_study(out).trials) == 1  # that of the last call; the others' folders stay
    assert pruned.trial_dir.is_dir()


def test_the_network_comes_back_in_another_program(user: User, pruned: Pruned) -> None:
    again = load_pruned(pruned.trial_dir, SmallNet())
    assert torch.equal(again(user.val[0]), pruned.network(user.val[0]))
    assert torch.equal(load_pruned(pruned.trial_dir / "model", SmallNet())(user.val[0]), again(user.val[0]))
    with pytest.raises(InputError, match=r"24 filters for body.3, but 20"):
        load_pruned(pruned.trial_dir, SmallNet(10))
    with pytest.raises(InputError, match=r"plan.json is missing: name the folder of a trial"):
        load_pruned(pruned.out, SmallNet())
    other = SmallNet()
    other.body[4] = nn.GELU()
    with pytest.raises(InputError, match="python:SmallNet now returns another network than the one that was pruned"):
        load_pruned(pruned.trial_dir, other)


def test_a_plan_of_an_earlier_version_says_what_it_does_not_tell(pruned: Pruned, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(pruned.trial_dir / "model", folder)
    plan = json.loads((folder / "plan.json").read_text())
    del plan["fingerprints"]
    (folder / "plan.json").write_text(json.dumps(plan | {"format_version": 2}))
    with pytest.warns(UserWarning, match="from an earlier version: it records the shapes of the network, but not what"):
        network = load_pruned(folder, SmallNet())
    assert count_params(network) == pruned.report.params


class Inner(nn.ReLU):
    """Left whole; its setting is in no text."""

    limit = 6.0

    def get_extra_state(self) -> float:
        return self.limit

    def set_extra_state(self, limit: float) -> None:
        self.limit = limit


def test_a_given_network_is_its_hooks_and_settings_too() -> None:
    def digest(network: SmallNet) -> str:
        return digest_of_network(trace(network.eval(), (1, 8, 8), whole=("body.4",)))

    def made(act: nn.Module) -> SmallNet:
        torch.manual_seed(0)
        network = SmallNet()
        network.body[4] = act
        return network

    hooked, other = made(nn.ReLU()), made(nn.ReLU())
    hooked.body[4].register_forward_hook(lambda module, given, out: out.clamp(max=1))
    other.body[4].register_forward_hook(lambda module, given, out: out.clamp(max=2))
    limited, more = Inner(), Inner()
    more.limit = 7.0
    digests = [digest(network) for network in (made(nn.ReLU()), hooked, other, made(limited), made(more))]
    assert len(set(digests)) == len(digests)
    assert digest(made(nn.ReLU())) == digests[0]


def test_without_the_program_its_trial_says_so(pruned: Pruned) -> None:
    with pytest.raises(InputError, match=r"model python:SmallNet was passed to raprune.api.prune by a program"):
        open_trial(pruned.trial_dir)


def test_the_network_is_exported_with_its_scores(user: User, pruned: Pruned, tmp_path: Path) -> None:
    file = tmp_path / "smaller.pt2"
    exported = pruned.export(file)
    assert max(of.largest for of in exported.differences.values()) < 1e-4
    assert {measured.split: measured.score for measured in exported.scores} == {
        "val": pruned.report.val_score,
        "test": pruned.report.test_score,
    }
    loaded = torch.export.load(file).module()
    assert torch.allclose(loaded(user.val[0][:7]), pruned.network(user.val[0][:7]), atol=1e-4)
    with pytest.raises(InputError, match=r"smaller\.pt2 exists"):
        pruned.export(file)
    with pytest.raises(InputError, match=r"pth: its name does not say in which format"):
        pruned.export(tmp_path / "smaller.pth")
    pruned.export(tmp_path / "smaller.safetensors")
    again = load_pruned(tmp_path / "smaller.safetensors", SmallNet())
    assert torch.equal(again(user.val[0]), pruned.network(user.val[0]))


def test_a_signal_after_the_last_layer_loses_nothing(
    user: User, pruned: Pruned, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launched = running.launch
    monkeypatch.setattr(running, "launch", lambda *a, **k: replace(launched(*a, **k), interrupted=True))
    again = prune(user.model, user.train, user.val, drop_bound=4.0, test=user.test, out=out, **FAST)
    assert again.report.row == pruned.report.row
    assert again.report.folder == again.out == out
    assert again.report.lines()[-1] == f"rows, weights and settings: {out}"
