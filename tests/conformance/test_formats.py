"""Every format of ``raprune export``: what is written is loaded again as the same network, with the plan in it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from raprune.artefact import TrialNetworks, open_trial
from raprune.cli.root import app
from raprune.engine.inputs import Inputs
from raprune.export.checking import TOLERANCE
from raprune.export.contract import Format, QuantisedFormat
from raprune.export.refusals import Refused
from raprune.registry import FORMATS, Plugin
from tests.export.trials import make_trial
from tests.test_shape import ROOT

every = pytest.mark.parametrize("plugin", [pytest.param(plugin, id=plugin.name) for plugin in FORMATS])


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> TrialNetworks:
    return open_trial(make_trial(tmp_path_factory.mktemp("trial")), allow_import=True)


def build(plugin: Plugin) -> Format:
    chosen: Format = FORMATS.build(plugin.name, {})
    return chosen


@every
def test_it_declares_what_it_can(plugin: Plugin) -> None:
    assert plugin.declared["quantises"] == isinstance(build(plugin), QuantisedFormat)
    assert plugin.declared["is_folder"] == build(plugin).is_folder
    assert "'x y'" in plugin.declared["loaded_by"].format(file="x y", allowed="")


@every
def test_what_is_written_is_loaded_as_the_same_network(plugin: Plugin, trial: TrialNetworks, tmp_path: Path) -> None:
    chosen, network, file = build(plugin), trial.networks["pruned"], tmp_path / "network"
    if chosen.is_folder:
        file.mkdir()
    try:
        chosen.write(network, torch.zeros(2, *trial.input_shape), trial.plan, file)
    except Refused as error:
        pytest.skip(str(error))
    files = sorted(file.iterdir()) if chosen.is_folder else [file]
    assert any(trial.plan.model.name.encode() in written.read_bytes() for written in files)
    run = chosen.load(file, 1, Inputs())
    for number in (1, 3):
        images_BCHW = torch.randn(number, *trial.input_shape, generator=torch.Generator().manual_seed(number))
        with torch.inference_mode():
            expected = network(images_BCHW)
        assert run(images_BCHW).shape == expected.shape
        assert (run(images_BCHW) - expected).abs().median() <= TOLERANCE * expected.abs().max()


@every
def test_users_are_told_of_it(plugin: Plugin) -> None:
    assert plugin.name in CliRunner().invoke(app, ["export", "--help"]).output
    assert f"`{plugin.name}`" in (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
