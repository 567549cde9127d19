"""ResNet-20: its shortcuts by hand, and a checkpoint that was not made by us on real images."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from raprune.baseline.sane import check_sane
from raprune.engine.split import channels_last
from raprune.network.weights import load_checkpoint
from raprune.plugins.models.cifar_resnet import Shortcut
from raprune.registry import DATASETS, SCORES
from tests.models.published import build


@pytest.mark.parametrize(("size", "halved"), [((4, 6), (2, 3)), ((5, 7), (3, 4)), ((1, 1), (1, 1))])
def test_a_shortcut_subsamples_and_adds_zeros_on_both_sides(size: tuple[int, int], halved: tuple[int, int]) -> None:
    maps = torch.randn(2, 3, *size)
    out = Shortcut(3, 8)(maps)
    assert out.shape == (2, 8, *halved)
    assert out[:, [0, 1, 5, 6, 7]].count_nonzero() == 0
    for row in range(halved[0]):
        for column in range(halved[1]):
            assert torch.equal(out[:, 2:5, row, column], maps[:, :, 2 * row, 2 * column])


def test_a_checkpoint_of_others_scores_what_it_should(data_root: Path) -> None:
    network = build("cifar_resnet", 10, (3, 32, 32))
    load_checkpoint(network, data_root / "models" / "resnet20_cifar10_jpeg.pt")
    file = str(data_root / "cifar10" / "test.parquet")
    splits = DATASETS.build("image_parquet", {"train": file, "num_val": 1000, "normalisation": "imagenet"})
    value = check_sane(channels_last(network).eval(), splits, splits.val, SCORES.build("top1_accuracy", {}), 250)
    assert 86.0 < value < 92.0


@torch.no_grad()
def test_the_zeros_are_where_the_checkpoint_expects_them(data_root: Path) -> None:
    network = build("cifar_resnet", 10, (3, 32, 32))
    load_checkpoint(network, data_root / "models" / "resnet20_cifar10_jpeg.pt")
    file = str(data_root / "cifar10" / "test.parquet")
    splits = DATASETS.build("image_parquet", {"train": file, "num_val": 200, "normalisation": "imagenet"})
    images = splits.val.images_BCHW / 255.0
    mean, std = (torch.tensor(of)[:, None, None] for of in (splits.mean, splits.std))

    def correct(network: nn.Module) -> int:
        return int((network.eval()((images - mean) / std).argmax(1) == splits.val.labels_B).sum())

    right = correct(network)
    assert right > 168
    for stage in (network.get_submodule("layer2"), network.get_submodule("layer3")):
        shortcut = stage.get_submodule("0.shortcut")
        shortcut.before, shortcut.after = 0, shortcut.before + shortcut.after
    assert correct(network) < 60
