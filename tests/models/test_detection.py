"""Torchvision's detection networks: their own checkpoints, what is refused, and the parts that stay whole."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from raprune.errors import InputError
from raprune.network.graph import trace
from raprune.network.weights import load_checkpoint
from raprune.preflight.fitting import score_problem_of
from raprune.registry import DATASETS, MODELS, SCORES
from raprune.study.schema import Choice

LITE = "ssdlite320_mobilenet_v3_large"


def build(num_classes: int = 4, **settings: str) -> nn.Module:
    made: nn.Module = MODELS.build(
        "torchvision_detection", {"network": LITE, **settings}, num_classes=num_classes, input_shape=(3, 64, 64)
    )
    return made


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state dict of torchvision's own network, as those with frozen norms are: without counters."""
    from torchvision.models import get_model

    torch.manual_seed(1)
    tensors = get_model(LITE, weights=None, weights_backbone=None, num_classes=4).state_dict()
    file = tmp_path_factory.mktemp("published") / "lite.pth"
    torch.save({name: tensor for name, tensor in tensors.items() if "num_batches" not in name}, file)
    return file


def test_a_checkpoint_of_torchvision_is_taken_as_it_is(published: Path) -> None:
    network, tensors = build(), torch.load(published)
    anchors = network.get_buffer("anchors").clone()
    assert load_checkpoint(network, published) == []
    assert torch.equal(network.get_buffer("anchors"), anchors)
    assert all(torch.equal(network.state_dict()[name], tensor) for name, tensor in tensors.items())


def test_only_the_layers_that_depend_on_the_classes_start_anew(published: Path) -> None:
    found, tensors = build(num_classes=6, pretrained=str(published)).state_dict(), torch.load(published)
    differ = {name for name, tensor in tensors.items() if not torch.equal(found[name], tensor)}
    assert differ == {n for n in tensors if n.startswith("head.classification") and n.split(".")[4:5] == ["1"]}
    assert len(differ) == 12  # the weight and the bias for each of six maps


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("fasterrcnn_resnet50_fpn", "has two stages"),
        ("retinanet_resnet50", "did you mean 'retinanet_resnet50_fpn'"),
    ],
)
def test_other_networks_are_refused_by_name(network: str, message: str) -> None:
    with pytest.raises((InputError, ValueError), match=message):
        build(network=network)


def test_the_wrong_head_and_the_wrong_labels_are_told() -> None:
    network = MODELS.build("small_ssd", {"width": 0.25}, num_classes=11, input_shape=(3, 32, 32))
    traced = trace(network, (3, 32, 32))
    sizes = {"size": 32, "digits": 1, "num_train": 4, "num_val": 4, "num_test": 4}
    boxes, pixels = DATASETS.build("digit_boxes", sizes), DATASETS.build("digit_scenes", sizes)

    def problem(splits: object, **settings: object) -> str:
        score = SCORES.build("mean_average_precision", settings)
        found = score_problem_of(network, traced, splits, Choice(name="mean_average_precision"), score)  # type: ignore[arg-type]
        return "" if found is None else str(found[1])

    assert problem(boxes) == ""
    assert "must have head: ssd for this network; got retinanet" in problem(boxes, head="retinanet")
    assert "needs boxes around objects; the data set has one class per pixel" in problem(pixels)
    del network.detection_head
    assert "the data set's labels need (80, 20)" in problem(boxes, head="fcos")


def test_what_is_the_output_stays_whole_and_the_rest_is_pruned() -> None:
    network = build()
    traced = trace(network, (3, 64, 64))
    last = {name for name in traced.graph.whole if name.startswith("head.") and name.endswith(".1")}
    assert set(traced.graph.whole) == last
    assert all("mixes channels and positions" in reason for reason in traced.graph.whole.values())
    assert len(last) == 12  # for each of six maps, one for boxes and one for classes
    assert len(traced.graph.groups) == 47
