"""The blocks of docs/export.md work."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch

from raprune.artefact import open_trial
from raprune.artefact.plan import NetworkPlan
from raprune.export.exporting import Wanted, export_trial
from raprune.registry import FORMATS
from tests.export import own
from tests.export.conftest import OwnTrial
from tests.export.trials import make_trial
from tests.test_shape import ROOT

PAGE = (ROOT / "docs" / "export.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


def run(snippet: str, **names: object) -> dict[str, object]:
    exec(compile(snippet, "docs/export.md", "exec"), names)
    return names


def test_every_way_to_load_a_file_works(
    own_trial: OwnTrial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for exported in own_trial.exported.values():
        shutil.copy(exported.file, tmp_path)
    monkeypatch.chdir(tmp_path)
    images = torch.randn(2, 1, 9, 7)
    with torch.inference_mode():
        expected = own_trial.trial.networks["pruned"](images)
        for place in (0, 1, 3):
            found = torch.as_tensor(run(SNIPPETS[place], images=images)["logits"])
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert "('a', 'b', 'c')" in capsys.readouterr().out
    plan = run(SNIPPETS[2])["plan"]
    assert isinstance(plan, dict)
    assert plan["trial_id"] == "t"
    assert plan["preprocessing"]["pixel_range"] is None


def test_a_coupled_network_is_loaded_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_trial(tmp_path / "made", residual="coupled")
    export_trial(folder, Wanted("safetensors", tmp_path / "net.safetensors"), allow_import=True)
    monkeypatch.chdir(tmp_path)
    network = run(SNIPPETS[5], build=own.build)["network"]
    assert isinstance(network, torch.nn.Module)
    images = torch.randn(2, 1, 9, 7)
    with torch.inference_mode():
        assert torch.equal(network(images), open_trial(folder, allow_import=True).networks["pruned"](images))


def test_the_page_names_every_key_and_format() -> None:
    keys = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", PAGE, flags=re.MULTILINE))))
    assert set(NetworkPlan.model_fields) | set(FORMATS.names()) | {"all", "best", "front"} <= keys
