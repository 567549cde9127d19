"""A trial's files open as they were written, with the code of that time, and import nothing unasked."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from torch import Tensor, nn
from torch.nn import functional as F

from raprune import cli
from raprune.artefact import open_network, open_trial
from raprune.artefact.rebuilding import HEADER_KEY
from raprune.engine.inputs import Inputs
from raprune.errors import InputError
from raprune.export.checking import Images
from raprune.export.exporting import Wanted, export_trial
from raprune.identity import of_file
from raprune.network.weights import load_safetensors, save_safetensors
from raprune.results import TrialStore, write_json
from tests.bench.trials import own as bare
from tests.export import own
from tests.export.conftest import OwnTrial

NAME = "tests.export.own:build"


@pytest.fixture
def folder(own_trial: OwnTrial, tmp_path: Path) -> Path:
    """A copy of the trial, to be spoilt."""
    shutil.copytree(own_trial.folder.parent.parent, tmp_path / "study")
    return tmp_path / "study" / "trials" / "t"


def spoil(file: Path) -> None:
    """One bit of one weight is another."""
    data = bytearray(file.read_bytes())
    data[-3] ^= 1
    file.write_bytes(data)


def test_weights_are_compared_before_they_are_used(folder: Path, own_trial: OwnTrial, tmp_path: Path) -> None:
    baseline = folder.parent.parent / "baselines" / "b0"
    noted = json.loads((baseline / "baseline.json").read_text())
    write_json(baseline / "baseline.json", noted | {"weights_fingerprint": of_file(baseline / "model.safetensors")})
    open_trial(folder, allow_import=True)
    for file in (folder / "model" / "model.safetensors", baseline / "model.safetensors"):
        kept = file.read_bytes()
        spoil(file)
        with pytest.raises(InputError, match=f"{file} has changed since it was written"):
            open_trial(folder, allow_import=True)
        file.write_bytes(kept)
    exported = Path(shutil.copy(own_trial.exported["safetensors"].file, tmp_path))
    open_network(exported, allow_import=True)
    spoil(exported)
    with pytest.raises(InputError, match=f"{exported} has changed since it was written"):
        open_network(exported, allow_import=True)


def test_files_of_several_trials_are_not_mixed(folder: Path) -> None:
    file = folder / "model" / "plan.json"
    plan = json.loads(file.read_text())
    row = TrialStore(folder.parent.parent, "made", "t").trial_row()
    assert row is not None
    write_json(file, plan | {"trial_id": "u"})
    with pytest.raises(InputError, match=r"plan.json belongs to trial u: restore that of t"):
        open_trial(folder, allow_import=True)
    write_json(file, plan)
    TrialStore(folder.parent.parent, "made", "t").write_trial(bare(row) | {"val_score": 12.5})
    with pytest.raises(InputError, match=r"plan.json is of another run of trial t than its row"):
        open_trial(folder, allow_import=True)
    shutil.copytree(folder, folder.with_name("u"))
    with pytest.raises(InputError, match=r"trial.parquet is damaged: its rows belong to trial 't'"):
        open_trial(folder.with_name("u"), allow_import=True)
    write_json(folder / "made_from.json", dict.fromkeys(("network", "weights", "code", "data", "test", "made_by"), "")
               | {"baseline": "other", "matched": None})  # fmt: skip
    write_json(
        folder.parent.parent / "baselines" / "b0" / "baseline.json",
        json.loads((folder.parent.parent / "baselines" / "b0" / "baseline.json").read_text())
        | {"weights_fingerprint": "this"},
    )
    with pytest.raises(InputError, match="was pruned from another baseline than the one"):
        open_trial(folder, allow_import=True)


class Other(own.Own):
    """The same shapes; one activation is another."""

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.norm(self.stem(images)))
        x = F.dropout(x + self.inner(x), 0.1, self.training)
        size = x.size()
        x, places = self.pool(x)
        x = F.leaky_relu(self.last(self.unpool(x, places, output_size=size)), 0.3)
        return self.head(x.mean((2, 3)))


def reset(network: nn.Module, change: Callable[[nn.Module], object]) -> nn.Module:
    change(network)
    return network


@pytest.mark.parametrize("versions", ["the same", "others"])
def test_other_code_is_refused(folder: Path, versions: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its fingerprint, and under other versions by what it gives."""
    file = folder / "model" / "plan.json"
    plan = json.loads(file.read_text())
    if versions == "others":
        plan["fingerprints"] |= {"made_by": "torch 1.0", "structure": "0"}
        write_json(file, plan)
    open_trial(folder, allow_import=True)
    makers = [lambda num_classes: Other(num_classes, 8, counts=False)]
    makers.append(lambda num_classes: reset(own.Own(num_classes, 8, False), lambda net: setattr(net.norm, "eps", 0.5)))
    for make in makers:
        monkeypatch.setattr(own, "build", make)
        with pytest.raises(InputError, match=f"model {NAME} now returns another network than the one that was"):
            open_trial(folder, allow_import=True)


def test_other_data_are_not_scored(own_trial: OwnTrial) -> None:
    trial = own_trial.trial
    object.__setattr__(trial, "data_fingerprint", "of other images")
    try:
        assert Images(trial, Inputs()).missing == "data set tests.export.own:data has other images or labels now"
    finally:
        object.__setattr__(trial, "data_fingerprint", "")


def harm(folder: Path, where: str) -> None:
    """Let a file name a function that does harm."""
    file = folder / "model" / "plan.json"
    plan = json.loads(file.read_text())
    if where == "header":
        header = {HEADER_KEY: json.dumps(plan | {"model": {"name": "os:system", "settings": {"command": "true"}}})}
        save_safetensors(load_safetensors(folder / "model" / "model.safetensors"), folder / "net.safetensors", header)
    else:
        name = {"model": "os:system", "dataset": "subprocess:call", "score": "harmful_module:run"}[where]
        write_json(file, plan | {where: plan[where] | {"name": name}})


@pytest.mark.parametrize("where", ["model", "dataset", "score", "header"])
def test_files_import_nothing_unasked(
    folder: Path, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "harmful_module.py").write_text(f"open({str(tmp_path / 'harm')!r}, 'w')\ndef run(): pass")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    harm(folder, where)
    ran: list[object] = []
    monkeypatch.setattr("os.system", lambda *given, **more: ran.append(given))
    monkeypatch.setattr("subprocess.call", lambda *given, **more: ran.append(given))
    out = tmp_path / "net"
    attempt = {
        True: lambda: open_network(folder / "net.safetensors"),
        False: lambda: export_trial(folder, Wanted("safetensors", out), allow_import=[NAME]),
    }[where == "header"]
    with pytest.raises(InputError, match=r"names code that would be imported and run: .*--allow-import "):
        attempt()
    assert not ran
    assert "harmful_module" not in sys.modules
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    "command", [["export", "--format", "safetensors", "--out", "{out}"], ["bench", "--runs", "1", "--backend", "eager"]]
)
def test_the_commands_take_what_is_allowed(
    command: list[str],
    own_trial: OwnTrial,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments = [command[0], str(own_trial.folder), *(part.format(out=tmp_path / "net") for part in command[1:])]
    monkeypatch.setattr(sys, "argv", ["raprune", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert f"model '{NAME}'" in said
    assert f"--allow-import {NAME}" in said
    if command[0] == "export":
        allowed = ["--allow-import", NAME, "--allow-import", "tests.export.own:data"]
        monkeypatch.setattr(sys, "argv", ["raprune", *arguments, *allowed])
        cli.main()
        assert (tmp_path / "net").exists()
