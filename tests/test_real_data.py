"""Real CIFAR-10 images and a checkpoint that was not made by us (found through RAPRUNE_DATA; skipped without)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from raprune.baseline.sane import check_sane
from raprune.engine.split import channels_last
from raprune.errors import InputError
from raprune.network.graph import trace
from raprune.network.measure import count_macs, count_params
from raprune.network.surgery import shrink
from raprune.network.weights import load_checkpoint
from raprune.plugins.datasets.base import Splits, normalise
from raprune.registry import DATASETS, MODELS, SCORES
from tests.engine.test_masked_is_removed import agree, masked_after_norm, random_mask


@pytest.fixture(scope="module")
def cifar(data_root: Path) -> Splits:
    """The 5,000 test images, 200 of them as validation: enough here, and quick to decode."""
    splits: Splits = DATASETS.build(
        "image_parquet", {"train": str(data_root / "cifar10" / "test.parquet"), "num_val": 200}
    )
    return splits


@pytest.fixture(scope="module")
def vgg16(data_root: Path) -> nn.Module:
    network: nn.Module = MODELS.build("vgg16", {}, num_classes=10, input_shape=(3, 32, 32))
    load_checkpoint(network, data_root / "models" / "vgg16_cifar10_jpeg.safetensors")
    return network.eval()


def test_the_checkpoint_scores_what_it_should(cifar: Splits, vgg16: nn.Module) -> None:
    assert cifar.input_shape == (3, 32, 32)
    assert cifar.test is None
    assert len(cifar.train) == 4800
    value = check_sane(channels_last(vgg16), cifar, cifar.val, SCORES.build("top1_accuracy", {}), 100)
    assert 78.0 < value < 93.0  # 86.2% on all test images


def test_permuted_classes_are_noticed(cifar: Splits, vgg16: nn.Module) -> None:
    permuted = torch.tensor([3, 4, 5, 6, 7, 8, 9, 0, 1, 2])
    val = type(cifar.val)(cifar.val.images_BCHW, permuted[cifar.val.labels_B])
    with pytest.raises(InputError, match="classes look permuted"):
        check_sane(vgg16, cifar, val, SCORES.build("top1_accuracy", {}), 100)


def test_masked_is_removed_on_real_images(cifar: Splits, vgg16: nn.Module) -> None:
    network = vgg16.double()
    traced = trace(network, (3, 32, 32))
    plan = {
        layer: random_mask(group.num_filters, seed) for seed, (layer, group) in enumerate(traced.graph.groups.items())
    }
    images = normalise(cifar.val.images_BCHW[:24], cifar, torch.float64)
    smaller = shrink(traced, plan)
    with torch.no_grad():
        agree(masked_after_norm(network, plan, images), smaller(images))
    assert count_params(smaller) < 0.6 * count_params(network)
    assert count_macs(smaller, (3, 32, 32)) < 0.65 * count_macs(network, (3, 32, 32))


def test_a_missing_column_and_a_bad_label_are_named(data_root: Path) -> None:
    file = str(data_root / "cifar10" / "test.parquet")
    with pytest.raises(InputError, match=r"has no column 'image'; its columns are .*img"):
        DATASETS.build("image_parquet", {"train": file, "num_val": 10, "image_column": "image"})
    with pytest.raises(InputError, match=r"row \d+ has label 9; num_classes is 9"):
        DATASETS.build("image_parquet", {"train": file, "num_val": 10, "num_classes": 9})
