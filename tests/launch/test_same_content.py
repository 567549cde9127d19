"""A study continues in its folder only with what it was built from, whatever the files are called."""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from raprune.engine.workload import BASELINE_FILE, WEIGHTS_FILE
from raprune.errors import InputError
from raprune.launch import Outcome, run_study
from raprune.network.weights import load_safetensors, save_safetensors
from raprune.study import load_study
from tests.launch.runs import Watch

FILES = {
    "mine_blocks.py": """
from torch import nn

def activation():
    return nn.ReLU()

def started(network):
    return network
""",
    "mine_nets.py": """
from torch import nn
from mine_blocks import activation, started

def build(num_classes):
    layers = nn.Conv2d(1, 8, 3, 2, 1), nn.BatchNorm2d(8), activation(), nn.Conv2d(8, 8, 3, 2, 1), activation()
    return started(nn.Sequential(*layers, nn.Flatten(), nn.Linear(512, num_classes)))
""",
    "mine_data.py": """
from dataclasses import replace
from raprune.plugins.datasets.digits import DigitsSettings, load
import mine_changes

def digits():
    splits = load(DigitsSettings(num_val=100, num_test=100))
    return mine_changes.made(replace(splits, augment=lambda x, y, rng: (mine_changes.moved(x), y)))
""",
    "mine_changes.py": """
SHIFT = 0

def moved(x):
    return x.roll(SHIFT, -1)

def made(splits):
    return splits
""",
    "mine_score.py": """
from raprune.registry import Settings
from raprune.plugins.scores.top1_accuracy import Top1Accuracy
from mine_score_parts import safety

class Mine(Top1Accuracy):
    def __init__(self):
        super().__init__(Settings())

    def margins(self, logits_BK, labels_B):
        return safety(super().margins(logits_BK, labels_B))
""",
    "mine_score_parts.py": """
from pathlib import Path

def safety(margins):
    return margins * float(Path("mine_factor.txt").read_text()) * 1.0
""",
    "mine_factor.txt": "1.0",
    "mine.yaml": """
name: mine
model: {import: 'mine_nets:build'}
dataset: {import: 'mine_data:digits'}
score: {import: 'mine_score:Mine'}
baseline: {epochs: 2, learning_rate: 0.1}
finetune: {after_layer: {steps: 1}}
layers: ['0']
drop_bound: 30.0
method: magnitude
""",
}
CHECKPOINT = "baseline={checkpoint: mine.safetensors}"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder as a user has it, in which the study has run once, and once from a checkpoint."""
    folder = tmp_path_factory.mktemp("mine")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        enter(folder, patch)
        assert go(folder).exit_code == 0
        shutil.copy(next((folder / "out" / "baselines").iterdir()) / WEIGHTS_FILE, folder / "mine.safetensors")
        assert go(folder, CHECKPOINT, out="out2").exit_code == 0
        yield folder


@pytest.fixture
def mine(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, in which the test runs."""
    folder = tmp_path / "mine"
    shutil.copytree(made, folder)
    enter(folder, monkeypatch)
    return folder


def enter(folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.chdir(folder)
    patch.setattr(sys, "path", [str(folder), *(path for path in sys.path if "mine" not in path)])
    patch.setattr(sys, "dont_write_bytecode", True)
    again()


def again() -> None:
    """What a new process does: the user's modules are imported anew."""
    for name in [name for name in sys.modules if name.startswith("mine")]:
        del sys.modules[name]


def go(folder: Path, *overrides: str, out: str = "out") -> Outcome:
    again()
    return run_study(load_study(folder / "mine.yaml", overrides), folder / out, Watch(), num_evaluators=0)


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


OTHERS = {
    "the activation": ("mine_blocks.py", "nn.ReLU()", "nn.Tanh()", "now builds another network"),
    "a setting of a layer": ("mine_nets.py", "BatchNorm2d(8)", "BatchNorm2d(8, eps=0.1)", "now builds another network"),
    "a hook": (
        "mine_blocks.py",
        "return network",
        "network[0].register_forward_hook(print); return network",
        "another",
    ),
    "a frozen layer": (
        "mine_blocks.py",
        "return network",
        "network[3].requires_grad_(False); return network",
        "another",
    ),
    "weights": (
        "mine_blocks.py",
        "return network",
        "network[0].weight.data *= 2; return network",
        "with other weights",
    ),
    "a helper of the score": (
        "mine_score_parts.py",
        ") * 1.0",
        ") * 2.0",
        "score mine_score:Mine, or what",
    ),
    "a file that the score reads": ("mine_factor.txt", "1.0", "3.0", "score mine_score:Mine, or what"),
    "a constant of the augmentation": ("mine_changes.py", "SHIFT = 0", "SHIFT = 1", "does to training images"),
    "train": ("mine_changes.py", "return splits", "splits.train.images_BCHW[0] = 0; return splits", "on other images"),
    "test": ("mine_changes.py", "return splits", "splits.test.labels_B[0] = 1; return splits", "class names of test"),
}


ALIKE = ("a setting of a layer", "a hook", "a frozen layer", "a helper of the score")
"""What makes another network, as "the activation" does, or another score, as a file that it reads does."""


@pytest.mark.parametrize("case", [pytest.param(c, marks=pytest.mark.slow) if c in ALIKE else c for c in OTHERS])
def test_other_content_is_refused(mine: Path, case: str) -> None:
    """With the same settings, whose rows are complete, and with others."""
    file, old, new, said = OTHERS[case]
    change(mine / file, old, new)
    for overrides in ((), ("drop_bound=40.0",)):
        with pytest.raises(InputError, match=said) as caught:
            go(mine, *overrides)
        assert "Use another folder (--out)" in str(caught.value)
    assert go(mine, out="elsewhere").exit_code in (0, 1)


SAME = [
    ("mine_nets.py", "def build", "# what it is\ndef build"),
    ("mine_nets.py", "layers", "parts"),
    ("mine_blocks.py", "def activation():\n", 'def activation():\n    """What it is."""\n\n\n'),
    ("mine_score_parts.py", "(margins):\n    return margins", '(found):\n    """What it is."""\n\n    return found'),
    ("mine_changes.py", "SHIFT = 0", "OTHER = 5\nSHIFT = 0  # none"),
]
FEW = (1, 3)
"""One of a network and one of a score; identity/test_fingerprints.py has all kinds of changes."""


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [pytest.param(*case, marks=[] if number in FEW else pytest.mark.slow) for number, case in enumerate(SAME)],
)
def test_what_changes_nothing_is_gone_on_with(mine: Path, file: str, old: str, new: str) -> None:
    change(mine / file, old, new)
    assert go(mine, "drop_bound=40.0").exit_code == 0


def test_a_checkpoint_is_its_content(mine: Path) -> None:
    """A touched and a copied file go on, and so do the same weights in another wrapping; others are refused."""
    file = mine / "mine.safetensors"
    os.utime(file, (1, 1))
    assert go(mine, CHECKPOINT, out="out2").exit_code == 0
    tensors = load_safetensors(file)
    save_safetensors({f"module.{name}": tensor for name, tensor in tensors.items()}, file)
    assert go(mine, CHECKPOINT, "drop_bound=40.0", out="out2").exit_code == 0
    save_safetensors({name: tensor + (tensor.dim() == 4) * 1e-3 for name, tensor in tensors.items()}, file)
    for bound in (30.0, 50.0):
        with pytest.raises(InputError, match=r"the checkpoint 'mine.safetensors' now has other weights"):
            go(mine, CHECKPOINT, f"drop_bound={bound}", out="out2")
    shutil.rmtree(mine / "out2" / "baselines")
    with pytest.raises(InputError, match=r"trials.* the checkpoint 'mine.safetensors' now has other weights"):
        go(mine, CHECKPOINT, out="out2")


def spoil(file: Path) -> None:
    """4,000 bytes of a file, or a tenth of it, are others."""
    data = bytearray(file.read_bytes())
    number = min(4000, len(data) // 10)
    data[-2 * number : -number] = random.Random(0).randbytes(number)
    file.write_bytes(data)


def test_a_spoilt_baseline_is_refused_and_made_anew(mine: Path) -> None:
    folder = next((mine / "out" / "baselines").iterdir())
    before = (folder / WEIGHTS_FILE).read_bytes()
    for file, damage in (
        (folder / WEIGHTS_FILE, spoil),
        (folder / BASELINE_FILE, spoil),
        (folder / WEIGHTS_FILE, os.remove),
    ):
        kept = file.read_bytes()
        damage(file)
        with pytest.raises(InputError, match=f"{file}.*delete {folder}: the same command then rebuilds the baseline"):
            go(mine, "drop_bound=40.0")
        file.write_bytes(kept)
    shutil.rmtree(folder)
    assert go(mine, "drop_bound=40.0").exit_code == 0
    assert (folder / WEIGHTS_FILE).read_bytes() == before


def test_trials_of_another_baseline_are_refused(mine: Path) -> None:
    """A baseline that was made anew may have other bits, on another machine: its trials do not mix with others."""
    trial = next((mine / "out" / "trials").iterdir())
    noted = json.loads((trial / "made_from.json").read_text())
    (trial / "made_from.json").write_text(json.dumps(noted | {"baseline": "of another machine"}))
    with pytest.raises(InputError, match=f"trial {trial} was pruned from another baseline .*: delete {trial} to run"):
        go(mine)


@pytest.mark.parametrize("versions", ["of an earlier version", "under other versions"])
def test_baselines_that_cannot_be_compared_are_scored(mine: Path, versions: str) -> None:
    """What has no fingerprints, or such of another Python or torch, is what it was if it scores what it scored."""
    file = next((mine / "out" / "baselines").iterdir()) / BASELINE_FILE
    found = json.loads(file.read_text())
    if versions == "of an earlier version":
        del found["sources"]
        found["own_code"] = "0123456789abcdef"
    else:
        found["sources"] |= {"network": "0", "weights": "0", "code": "0", "made_by": "torch 1.0"}
    file.write_text(json.dumps(found))
    change(mine / "mine_blocks.py", "nn.ReLU()", "nn.Tanh()")
    with pytest.raises(InputError, match="now builds another network"):
        go(mine, "drop_bound=40.0")
    change(mine / "mine_blocks.py", "nn.Tanh()", "nn.ReLU()")
    assert go(mine, "drop_bound=40.0").exit_code == 0
    assert json.loads(file.read_text())["sources"] != found.get("sources")
