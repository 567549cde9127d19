"""``prune`` on a detection network of torchvision with a program's own images and boxes."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.ssd import SSD, SSDHead
from torchvision.ops import FrozenBatchNorm2d

from raprune.api import prune
from raprune.api.boxes import as_rows, box_rows, family_of
from raprune.api.reading import read_split
from raprune.errors import InputError

SIDE = 8
"""Pixels of a cell; an image has 4x4 cells, and an object fills one."""


class Backbone(nn.Module):
    """Means of each cell's red and green, and four filters of nothing."""

    out_channels = 6

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, SIDE, stride=SIDE, bias=False)
        self.norm = nn.BatchNorm2d(6)
        with torch.no_grad():
            self.conv.weight.zero_()
            for channel in range(2):
                self.conv.weight[channel, channel] = 1 / SIDE**2

    def forward(self, images_BCHW: Tensor) -> OrderedDict[str, Tensor]:
        return OrderedDict({"0": torch.relu(self.norm(self.conv(images_BCHW)))})


def detector() -> SSD:
    """A detector that finds red cells (class 1) and green ones (class 2) without an error."""
    backbone, anchors = Backbone(), DefaultBoxGenerator([[]], scales=[0.25, 0.9])
    head: Any = SSDHead([6], anchors.num_anchors_per_location(), 3)
    for conv in (*head.classification_head.module_list, *head.regression_head.module_list):
        nn.init.zeros_(conv.weight)
        nn.init.zeros_(conv.bias)
    logits = head.classification_head.module_list[0]  # anchors x classes; the second anchor finds nothing
    with torch.no_grad():
        logits.bias.copy_(torch.tensor([5.0, -5, -5, 9, -9, -9]))
        for color in range(2):
            logits.weight[0, color, 1, 1] = -10.0
            logits.weight[1 + color, color, 1, 1] = 12.0
    size = (4 * SIDE, 4 * SIDE)
    return SSD(backbone, anchors, size, 3, head=head, image_mean=[0.0] * 3, image_std=[1.0] * 3).eval()


def items(number: int, dtype: torch.dtype = torch.float32) -> list[tuple[Tensor, dict[str, Tensor]]]:
    """Black images with one red and one green cell, and torchvision's targets."""
    found = []
    for index in range(number):
        image_CHW, boxes = torch.zeros(3, 4 * SIDE, 4 * SIDE), []
        for color in range(2):
            row, column = divmod((index + 5 * color) % 16, 4)
            left, top = SIDE * column, SIDE * row
            image_CHW[color, top : top + SIDE, left : left + SIDE] = 1.0
            boxes.append([left, top, left + SIDE, top + SIDE])
        image = image_CHW if dtype == torch.float32 else (255 * image_CHW).to(dtype)
        found.append((image, {"boxes": torch.tensor(boxes).float(), "labels": torch.tensor([1, 2])}))
    return found


def test_what_finds_nothing_is_pruned(tmp_path: Path) -> None:
    model = detector()
    found = prune(
        model, items(8), items(16), drop_bound=5.0, test=items(4), guard=0, out=tmp_path, progress=False,
        finetune={"batch_size": 8, "after_layer": {"epochs": 0}, "at_end": {"epochs": 0}},
    )  # fmt: skip
    assert found.report.row["baseline_val_score"] == pytest.approx(100.0)
    assert found.report.row["val_score_drop"] == pytest.approx(0.0)
    assert found.report.row["num_kept"] == 2
    images = torch.stack([image for image, _ in items(3)])
    rows = as_rows(model, "ssd", (3, 32, 32))(images)
    torch.testing.assert_close(found.network(images), rows)
    assert sum(p.numel() for p in model.parameters()) > sum(p.numel() for p in found.network.parameters())


def test_bytes_are_normalised_as_the_network_does_and_loaders_are_read() -> None:
    by_bytes = read_split(items(5, torch.uint8), "val", 255, "boxes")
    loader = DataLoader(items(5, torch.uint8), batch_size=2, collate_fn=lambda batch: tuple(zip(*batch, strict=True)))  # type: ignore[arg-type]
    by_loader = read_split(loader, "val", 255, "boxes")
    given = read_split((by_bytes.images_BCHW, by_bytes.labels_B), "val", 255, "boxes")
    for split in (by_loader, given):
        assert torch.equal(split.images_BCHW, by_bytes.images_BCHW)
        assert torch.equal(split.labels_B, by_bytes.labels_B)
    assert by_bytes.labels_B[0].tolist() == [[1, 0, 0, 0.25, 0.25, 0], [2, 0.25, 0.25, 0.5, 0.5, 0]]


def test_boxes_are_cut_at_the_edge_and_may_be_none_or_crowds() -> None:
    target = {"boxes": [[-10, 0, 16, 32], [40, 0, 50, 8]], "labels": [3, 1], "iscrowd": [1, 0]}
    assert box_rows(target, (32, 64), "item 0").tolist() == [[3, 0, 0, 0.25, 1, 1], [1, 0.625, 0, 0.78125, 0.25, 0]]
    assert box_rows(target, (32, 32), "item 0").tolist() == [[3, 0, 0, 0.5, 1, 1]]  # the other lies outside
    assert box_rows({"boxes": [], "labels": []}, (32, 32), "item 0").shape == (0, 6)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (3, "item 1: its label must be a mapping with boxes .* got int"),
        (torch.zeros(4), "got torch.float32 \\(4,\\)"),
        ({"bbox": [], "labels": []}, "got a mapping of bbox, labels"),
        ({"boxes": [[1, 2, 3]], "labels": [1]}, "boxes must be \\(N, 4\\)"),
        ({"boxes": [["a", 2, 3, 4]], "labels": [1]}, "item 1: boxes must be numbers; got list"),
        ({"boxes": [[1, 2, 3, 4]], "labels": [1, 2]}, "labels must be \\(1,\\), one per box; got \\(2,\\)"),
        ({"boxes": [[1, 2, 3, 4]], "labels": [1], "iscrowd": 0}, "iscrowd must be \\(1,\\)"),
        ({"boxes": [[8, 2, 3, 4]], "labels": [1]}, "has the box \\[8.0, 2.0, 3.0, 4.0\\]: left < right"),
        ({"boxes": [[1, 2, float("nan"), 4]], "labels": [1]}, "left < right and top < bottom, in pixels"),
    ],
)
def test_malformed_boxes_are_refused_by_item(target: Any, message: str) -> None:
    data = [items(1)[0], (items(1)[0][0], target)]
    with pytest.raises(InputError, match=message):
        read_split(data, "train", 255, "boxes")


@pytest.mark.parametrize("label", [0, 3, 1.5])
def test_a_class_that_the_network_lacks_is_refused(label: float) -> None:
    wrong = [(image, {**target, "labels": torch.tensor([1, label])}) for image, target in items(4)]
    with pytest.raises(InputError, match=r"its train split: item 0 has the box .*: its class must be from 1 to 2"):
        prune(detector(), wrong, items(4), progress=False)


def test_images_of_two_sizes_and_no_images_are_refused() -> None:
    with pytest.raises(InputError, match=r"item 1: images must be .* got \(3, 16, 16\) after \(3, 32, 32\)"):
        read_split([items(1)[0], (torch.zeros(3, 16, 16), items(1)[0][1])], "val", 255, "boxes")
    with pytest.raises(InputError, match="it has no images"):
        read_split([], "val", 255, "boxes")
    with pytest.raises(InputError, match="batch 0: must be images and as many targets"):
        read_split(DataLoader(items(2), batch_size=2), "val", 255, "boxes")  # type: ignore[arg-type]


def test_two_stages_and_other_outputs_are_refused() -> None:
    generator = AnchorGenerator(((32,),), ((1.0,),))
    network = FasterRCNN(Backbone(), 2, rpn_anchor_generator=generator)
    with pytest.raises(InputError, match=r"FasterRCNN has two stages: .* there are SSD, RetinaNet, FCOS"):
        prune(network, items(2), items(2), progress=False)
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    assert family_of(plain) is None
    with pytest.raises(InputError, match=r"must return \(B, anchors, columns\)"):
        prune(plain, items(2), items(2), score="mean_average_precision", progress=False)


def test_frozen_norms_compute_the_same_and_are_trained() -> None:
    model = detector()
    images = torch.stack([image for image, _ in items(2)])
    plain = as_rows(model, "ssd", (3, 32, 32))(images)
    frozen: Any = FrozenBatchNorm2d(6, eps=model.backbone.norm.eps)
    frozen.load_state_dict(model.backbone.norm.state_dict())
    model.backbone.norm = frozen
    rows = as_rows(model, "ssd", (3, 32, 32))
    assert isinstance(rows.get_submodule("backbone.norm"), nn.BatchNorm2d)
    torch.testing.assert_close(rows(images), plain)
