"""A user's own network, data and score by import path: the same rows in process and on Ray."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
import torch

from raprune.launch import run_study
from raprune.network.weights import save_safetensors
from raprune.preflight.checks import load_and_inspect
from raprune.results import read_study
from tests.launch.runs import Watch, assert_same_rows

NETS = """
import torch
from torch import nn

class Gated(nn.Module):
    def __init__(self, filters, num_classes):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, filters, 3, 2, 1, bias=False), nn.BatchNorm2d(filters), nn.ReLU())
        self.wide = nn.Sequential(nn.Conv2d(filters, filters, 3, 2, 1), nn.BatchNorm2d(filters))
        self.depthwise = nn.Conv2d(filters, filters, 3, 2, 1, groups=filters)
        self.squeeze = nn.Conv2d(filters, filters, 1)
        self.head = nn.Linear(2 * filters, num_classes)

    def forward(self, x):
        x = self.stem(x)
        y = self.wide(x) + self.depthwise(x)
        y = y * torch.sigmoid(self.squeeze(y.mean((2, 3), keepdim=True)))
        both = torch.cat([y, self.depthwise(x)], 1).mean((2, 3))
        return {"logits": self.head(both), "features": both}

def build(filters, num_classes):
    return Gated(filters, num_classes)
"""
DATA = """
from dataclasses import replace
from raprune.plugins.datasets.digits import DigitsSettings, load

def inverted(num_val):
    splits = load(DigitsSettings(num_val=num_val, num_test=200))
    flip = lambda split: replace(split, images_BCHW=255 - split.images_BCHW)
    return replace(splits, train=flip(splits.train), val=flip(splits.val), test=flip(splits.test), mean=(0.695,))
"""
SCORE = """
from raprune.registry import Settings
from raprune.plugins.scores.top1_accuracy import Top1Accuracy

class Strict(Top1Accuracy):
    def __init__(self):
        super().__init__(Settings())
"""
STUDY = """
name: own
model: {import: 'own_nets:build', filters: 12, output: logits}
dataset: {import: 'own_data:inverted', num_val: 200}
score: {import: 'own_score:Strict'}
baseline: {epochs: 6, learning_rate: 0.1}
finetune: {after_layer: {steps: 4}}
scoring: {batch_size: 50}
drop_bound: 30.0
method: {name: agent, min_updates: 2, max_updates: 2}
sweep:
  residual: [independent, coupled]
"""


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as a user has it: modules beside the study, raprune started there."""
    for name, text in (("own_nets", NETS), ("own_data", DATA), ("own_score", SCORE)):
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "own.yaml").write_text(STUDY)
    return tmp_path / "own.yaml"


@pytest.mark.slow
def test_own_plugins_give_the_same_rows_anywhere(study: Path, ray_cluster: None) -> None:
    plan, facts = load_and_inspect(study)
    assert {fact.graph.prunable() for fact in facts.values()} == {(4, 4)}
    for evaluators in (0, 1):
        outcome = run_study(plan, study.parent / f"out{evaluators}", Watch(), num_evaluators=evaluators)
        assert outcome.exit_code == 0
    assert_same_rows(study.parent / "out0", study.parent / "out1")
    trials = read_study(study.parent / "out0").trials
    assert (trials["params"] < trials["baseline_params"]).all()
    assert set(trials["model"]) == {"own_nets:build"}


def test_a_checkpoint_of_ones_own(study: Path) -> None:
    import own_nets

    torch.manual_seed(0)
    save_safetensors(own_nets.build(12, 10).state_dict(), study.parent / "mine.safetensors")
    with pytest.raises(Exception, match="no better than chance"):  # it is untrained, and read
        load_and_inspect(study, ["baseline={checkpoint: mine.safetensors}"])


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("model.depth=3", "model 'own_nets:build' has no argument 'depth'"),
        ("model.output=lgits", "several outputs (logits, features): name one with output; it has no 'lgits'"),
        ("model.whole=[squeez]", "no module or node 'squeez'; did you mean 'squeeze'?"),
        ("score=mean_iou", "mean_iou needs one class per pixel; the data set has one class per image"),
    ],
)
def test_what_does_not_fit_is_a_sentence(study: Path, override: str, said: str) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        load_and_inspect(study, [override])
    assert said in str(caught.value)
