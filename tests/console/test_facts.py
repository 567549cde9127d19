"""What ``raprune check`` says about images, their normalisation, the baseline and seeds."""

from __future__ import annotations

from pathlib import Path

import pytest

from raprune.console.tables import facts_lines
from raprune.network.weights import save_safetensors
from raprune.preflight.checks import load_and_inspect
from tests.data.files import class_folders
from tests.tiny import Trained

TEXT = """
name: facts
model: {name: vgg16, width: 0.0625}
dataset: {name: digits, num_val: 200}
drop_bound: 2.0
method: magnitude
"""
SMALLEST = TEXT.replace("name: vgg16, width: 0.0625", "import: 'tests.launch.chain:Chain'")


def said(folder: Path, text: str = TEXT, *overrides: str) -> list[str]:
    file = folder / "facts.yaml"
    file.write_text(text)
    return facts_lines(*load_and_inspect(file, overrides))


def test_images_and_a_baseline_that_is_trained(tmp_path: Path) -> None:
    lines = said(tmp_path)
    assert any(
        line.startswith("images of 32x32 pixels (width x height), 1 channel, normalised: scaled") for line in lines
    )
    assert "baseline: trained here, 20 epochs, from random weights" in lines
    assert not any(line.startswith("seeds") for line in lines)


def test_named_statistics_and_the_size_of_a_folder(tmp_path: Path) -> None:
    class_folders(tmp_path / "images", 12)
    dataset = (
        f"dataset={{name: image_folder, root: {tmp_path / 'images'}, size: 32, num_val: 8, normalisation: cifar10}}"
    )
    lines = said(
        tmp_path, TEXT, dataset, "baseline.epochs=1", "drop_bound=60", "finetune.batch_size=4", "baseline.batch_size=4"
    )
    (line,) = [line for line in lines if line.startswith("images of")]
    assert line == (
        "images of 32x32 pixels (width x height), 3 channels, normalised (cifar10): scaled to [0, 1], "
        "mean (0.4914, 0.4822, 0.4465), std (0.247, 0.2435, 0.2616)"
    )
    assert "baseline: trained here, 1 epoch, from random weights" in lines


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (
            ["sweep.seed=[0, 1]"],
            "seeds vary the method's draws, the baseline's training, the split of the data, the batches",
        ),
        (
            ["sweep.seed=[0, 1]", "baseline.seed=0", "dataset.split_seed=0", "data_seed=0"],
            "seeds vary the method's draws; the baseline's training, the split of the data, the batches",
        ),
    ],
)
def test_what_seeds_vary(tmp_path: Path, overrides: list[str], expected: str) -> None:
    line = next(line for line in said(tmp_path, SMALLEST, *overrides) if line.startswith("seeds"))
    assert line.startswith(expected)


IDLE = ["finetune.before_reward.steps=0", "finetune.after_layer.steps=0"]
PINNED = ["baseline.seed=0", "dataset.split_seed=0"]
REPEATED = (
    "seeds 0, 1 repeat nothing but the method's draws: the rows of a method that draws nothing, such as magnitude,"
)


@pytest.mark.parametrize(
    ("overrides", "way_on"),
    [
        ([*PINNED, "data_seed=0"], "without baseline.seed, dataset.split_seed, data_seed in the study, they would"),
        ([*PINNED, *IDLE], "without baseline.seed, dataset.split_seed, data_seed in the study, they would"),
        (["baseline.checkpoint=", "data_seed=0"], "sweep several checkpoints (baseline.checkpoint) or, where the"),
        (["baseline.checkpoint=", *IDLE], "sweep several checkpoints (baseline.checkpoint) or, where the"),
        (["baseline.checkpoint="], None),
        (PINNED, None),
        ([*PINNED, *IDLE, "finetune.at_end.steps=1"], None),
        (["data_seed=0"], None),
    ],
)
def test_seeds_that_repeat_rows_are_told(
    trained: Trained, tmp_path: Path, overrides: list[str], way_on: str | None
) -> None:
    """Fine-tunes differ with the data's seed, which follows a swept seed also where the baseline is a checkpoint."""
    file = tmp_path / "trained.safetensors"
    save_safetensors(trained.network.state_dict(), file)
    study = TEXT if overrides[0].endswith("=") else SMALLEST
    overrides = [f"{text}{file}" if text.endswith("=") else text for text in overrides]
    repeated = [line for line in said(tmp_path, study, "sweep.seed=[0, 1]", *overrides) if line.startswith(REPEATED)]
    assert len(repeated) == (way_on is not None)
    assert way_on is None or way_on in repeated[0]


def test_a_checkpoint_and_several_networks(trained: Trained, tmp_path: Path) -> None:
    file = tmp_path / "trained.safetensors"
    save_safetensors(trained.network.state_dict(), file)
    lines = said(tmp_path, TEXT, f"baseline.checkpoint={file}")
    assert f"baseline: the checkpoint {file}, not trained any further" in lines
    lines = said(tmp_path, TEXT, "sweep.model=[{name: vgg16, width: 0.0625}, resnet18]")
    assert "baseline of resnet18 on digits: trained here, 20 epochs, from random weights" in lines
    assert "baseline of vgg16 on digits: trained here, 20 epochs, from random weights" in lines
