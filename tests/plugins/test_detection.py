"""Mean average precision against its reference implementation, and the heads against torchvision's own networks."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from raprune.engine.paired import PairedCounts
from raprune.errors import InputError
from raprune.plugins.datasets.base import NO_BOX
from raprune.plugins.models.detector import Detector
from raprune.plugins.scores.average_precision import (
    IOU_THRESHOLDS,
    match,
    mean_average_precision,
    overlaps,
    pack,
)
from raprune.plugins.scores.base import merged
from raprune.plugins.scores.detection_heads import HEADS, Limits
from raprune.registry import SCORES
from tests.detection import boxes_in_cells, rows_for

SIZE = 100.0
NUM_CLASSES = 4
LIMITS = Limits(min_score=0.3, candidates=10**6, nms_iou=0.5, max_detections=100)


def some_boxes(rng: np.random.Generator, number: int) -> np.ndarray:
    corner, side = rng.uniform(0, 60, (number, 2)), rng.uniform(10, 40, (number, 2))
    return np.concatenate([corner, corner + side], 1)


def random_case(seed: int, crowds: bool) -> tuple[list[dict[str, np.ndarray]], list[dict[str, np.ndarray]]]:
    """Boxes and detections of some images; detections are moved boxes, and others; no two scores are equal."""
    rng = np.random.default_rng(seed)
    truths, found = [], []
    scores = rng.permutation(2**12)[:2000] / 2**12
    for _ in range(12):
        number = int(rng.integers(0, 7))
        boxes, classes = some_boxes(rng, number), rng.integers(1, NUM_CLASSES, number)
        near = boxes.repeat(2, 0) + rng.uniform(-4, 4, (2 * number, 4))
        others = some_boxes(rng, 5)
        all_boxes = np.concatenate([near, others])
        all_classes = np.concatenate([classes.repeat(2), rng.integers(1, NUM_CLASSES, 5)])
        crowd = rng.random(number) < (0.3 if crowds else 0)
        own, scores = scores[: len(all_boxes)], scores[len(all_boxes) :]
        order = np.argsort(-own)
        truths.append({"boxes": boxes, "classes": classes, "crowd": crowd})
        found.append({"boxes": all_boxes[order], "classes": all_classes[order], "scores": own[order]})
    return truths, found


def ours(truths: list[dict[str, np.ndarray]], found: list[dict[str, np.ndarray]]) -> float:
    packed, number = [], np.zeros(NUM_CLASSES, dtype=np.int64)
    for truth, of in zip(truths, found, strict=True):
        iou = overlaps(of["boxes"], truth["boxes"], truth["crowd"])
        iou[of["classes"][:, None] != truth["classes"]] = -1
        packed.append(pack(of["scores"], of["classes"], *match(iou, truth["crowd"], IOU_THRESHOLDS)))
        number += np.bincount(truth["classes"][~truth["crowd"]], minlength=NUM_CLASSES)
    return mean_average_precision(np.concatenate(packed), number, np.zeros_like(number), len(IOU_THRESHOLDS))


def theirs(truths: list[dict[str, np.ndarray]], found: list[dict[str, np.ndarray]]) -> float:
    coco, cocoeval = pytest.importorskip("pycocotools.coco"), pytest.importorskip("pycocotools.cocoeval")

    def annotations(items: list[dict[str, np.ndarray]], more: str, key: str) -> list[dict[str, Any]]:
        rows = []
        for image, of in enumerate(items, start=1):
            for box, label, value in zip(of["boxes"], of["classes"], of[more], strict=True):
                left, top, right, bottom = map(float, box)
                area = [left, top, right - left, bottom - top]
                row = {"image_id": image, "category_id": int(label), "bbox": area, "area": area[2] * area[3]}
                rows.append({**row, "id": len(rows) + 1, "iscrowd": 0, key: type(value.item())(value)})
        return rows

    truth = coco.COCO()
    images = [{"id": image} for image in range(1, len(truths) + 1)]
    categories = [{"id": number} for number in range(1, NUM_CLASSES)]
    rows = [{**row, "iscrowd": int(row["iscrowd"])} for row in annotations(truths, "crowd", "iscrowd")]
    truth.dataset = {"images": images, "annotations": rows, "categories": categories}
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        evaluation = cocoeval.COCOeval(truth, truth.loadRes(annotations(found, "scores", "score")), "bbox")
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][..., 0, -1]  # thresholds x recalls x classes
    return float(precision[precision > -1].mean())


@pytest.mark.parametrize("crowds", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_the_score_is_that_of_the_reference(seed: int, crowds: bool) -> None:
    truths, found = random_case(seed, crowds)
    assert 0.1 < ours(truths, found) < 0.9
    assert ours(truths, found) == pytest.approx(theirs(truths, found), abs=1e-12)


def test_average_precision_by_hand() -> None:
    """Right, wrong, right of three boxes: precision 1 up to recall 1/3 (34 of 101), 2/3 up to 2/3 (33), then 0."""
    hits = np.array([[True], [False], [True]])
    packed = pack(np.array([0.9, 0.8, 0.7]), np.array([2, 2, 2]), hits, np.zeros_like(hits))
    number = np.array([0, 0, 3])
    assert mean_average_precision(packed, number, 0 * number, 1) == pytest.approx((34 + 33 * 2 / 3) / 101)
    assert mean_average_precision(packed[:1], number, np.array([0, 0, 2]), 1) == 1.0
    assert mean_average_precision(packed[:0], number, 0 * number, 1) == 0.0


def test_equal_scores_enter_together() -> None:
    hits = np.array([[True], [False]])
    packed = pack(np.array([0.5, 0.5]), np.array([1, 1]), hits, np.zeros_like(hits))
    for order in (packed, packed[::-1]):
        assert mean_average_precision(order, np.array([0, 1]), np.array([0, 0]), 1) == 0.5


def test_a_box_is_found_once() -> None:
    iou = np.array([[0.9, 0.0], [0.8, 0.0], [0.6, 0.7]])
    hits, ignored = match(iou, np.array([False, False]), (0.5, 0.85))
    assert hits.tolist() == [[True, True], [False, False], [True, False]]
    assert not ignored.any()
    hits, ignored = match(iou, np.array([False, True]), (0.5,))
    assert (hits[:, 0].tolist(), ignored[:, 0].tolist()) == ([True, False, False], [False, False, True])


def test_no_loss_for_a_crowd_and_nothing_wrong_in_it() -> None:
    score = SCORES.build("mean_average_precision", {})
    labels = boxes_in_cells(6, 2, NUM_CLASSES)
    rows = rows_for(labels, NUM_CLASSES)
    crowd = labels.clone()
    crowd[:, 1, 5] = 1
    assert score.whole(labels)[1:].sum() == 12
    assert score.whole(crowd)[1:].sum() == 6
    assert score.value(score.counts(rows, crowd), score.whole(crowd)) == 100.0
    only = labels.clone()
    only[:, 1, 0] = NO_BOX
    assert score.value(score.counts(rows, only), score.whole(only)) < 100.0
    assert torch.equal(score.loss(rows, crowd), score.loss(rows, only))


def test_a_split_without_boxes_and_too_many_classes_are_sentences() -> None:
    score = SCORES.build("mean_average_precision", {})
    labels = torch.full((2, 1, 6), float(NO_BOX))
    with pytest.raises(InputError, match="nothing to score"):
        score.value(torch.zeros(0, dtype=torch.int64), score.whole(labels))
    labels[0, 0] = torch.tensor([256.0, 0, 0, 1, 1, 0])
    with pytest.raises(InputError, match="at most 255 classes"):
        score.whole(labels)
    with pytest.raises(InputError, match="images x anchors x columns"):
        score.loss(torch.zeros(2, 5), labels)


def test_ap50_forgives_what_the_mean_does_not() -> None:
    labels = boxes_in_cells(6, 1, NUM_CLASSES)
    rows = rows_for(labels, NUM_CLASSES)
    rows[..., 0] = 2.0  # a fifth of the anchor to the right, in SSD's coding: an overlap of 2/3
    values = {}
    for iou in (None, 0.5, 0.7):
        score = SCORES.build("mean_average_precision", {"iou": iou})
        values[iou] = score.value(score.counts(rows, labels), score.whole(labels))
    assert values[0.5] > values[None] > values[0.7]


def test_not_a_number_finds_nothing() -> None:
    score = SCORES.build("mean_average_precision", {})
    labels = boxes_in_cells(4, 2, NUM_CLASSES)
    rows = rows_for(labels, NUM_CLASSES)
    for columns in (slice(0, 4), slice(8, None)):
        broken = rows.clone()
        broken[..., columns] = float("nan")
        assert score.value(score.counts(broken, labels), score.whole(labels)) == 0.0


def test_the_jackknife_of_a_paired_drop_leaves_out_images() -> None:
    score = SCORES.build("mean_average_precision", {})
    labels = boxes_in_cells(30, 2, NUM_CLASSES)
    perfect, noise = rows_for(labels, NUM_CLASSES, strength=3.0), torch.zeros(30, 16, 8 + NUM_CLASSES)
    noise[..., 8:] = 2 * torch.randn(30, 16, NUM_CLASSES, generator=torch.Generator().manual_seed(0))
    counts = PairedCounts(score, len(labels))
    counts.add(perfect, perfect + noise, labels)
    found = counts.result()
    whole = score.whole(labels)
    drop = score.value(score.counts(perfect, labels), whole) - score.value(score.counts(perfect + noise, labels), whole)
    assert found.drop == drop > 0
    assert (found.num_groups, found.lost) == (30, None)
    without_first = labels[1:]
    left_out = 100 - score.value(score.counts((perfect + noise)[1:], without_first), score.whole(without_first))
    assert abs(left_out - drop) < 10 * found.standard_error
    assert found.limit(0.95) > found.drop
    assert torch.equal(merged(score, [score.counts(perfect, labels)]), score.counts(perfect, labels))


@pytest.mark.parametrize(
    ("network", "head"),
    [
        ("ssdlite320_mobilenet_v3_large", "ssd"),
        ("retinanet_resnet50_fpn", "retinanet"),
        ("fcos_resnet50_fpn", "fcos"),
    ],
)
def test_losses_and_detections_are_those_of_torchvision(network: str, head: str) -> None:
    from torchvision.models import get_model

    size, num_classes = 96, 5
    torch.manual_seed(0)
    own = get_model(network, weights=None, weights_backbone=None, num_classes=num_classes).eval()
    own.transform.fixed_size = (size, size)
    own.score_thresh, own.nms_thresh = LIMITS.min_score, LIMITS.nms_iou
    own.topk_candidates, own.detections_per_img = LIMITS.candidates, LIMITS.max_detections
    ready = Detector(own.backbone, own.head, own.anchor_generator, head, (3, size, size))
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([[[1, 0.1, 0.1, 0.5, 0.6, 0], [3, 0.4, 0.3, 0.9, 0.8, 0]], [[2, 0.2, 0.2, 0.7, 0.7, 0]] * 2])
    labels[1, 1, 0] = NO_BOX
    targets = [
        {"boxes": of[of[:, 0] != NO_BOX][:, 1:5] * size, "labels": of[of[:, 0] != NO_BOX][:, 0].long()} for of in labels
    ]
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (own.transform.image_mean, own.transform.image_std))
    with torch.no_grad():
        rows = ready((images - mean) / std)
        own.training = own.transform.training = True  # the losses, with the batch norms as in eval mode
        losses = own(list(images), targets)
    score = SCORES.build("mean_average_precision", {"head": head})
    assert rows.shape[2] == score.num_columns(num_classes)
    assert float(score.loss(rows, labels)) == pytest.approx(float(sum(losses.values())), rel=1e-4)
    rows[..., :4] = torch.rand(rows[..., :4].shape, generator=torch.Generator().manual_seed(2))
    rows[..., 8:] += 2 * torch.randn(rows[..., 8:].shape, generator=torch.Generator().manual_seed(3))
    for rows_AC, expected in zip(rows, _postprocessed(own, rows, head, size), strict=True):
        is_object = expected["labels"] > 0  # a sigmoid head has scores for the background, too
        for found, key in zip(HEADS[head].detect(rows_AC, LIMITS), ("boxes", "scores", "labels"), strict=True):
            wanted, scale = expected[key][is_object], size if key == "boxes" else 1
            assert len(wanted) > 10
            torch.testing.assert_close(scale * found[: len(wanted)].to(wanted.dtype), wanted, rtol=1e-4, atol=1e-3)


def _postprocessed(own: Any, rows: Tensor, head: str, size: int) -> list[dict[str, Tensor]]:
    """What torchvision's network makes of ``rows``, as if they were of one level."""
    last = rows.shape[2] - HEADS[head].num_more
    outputs = {"bbox_regression": rows[..., :4], "cls_logits": rows[..., 8:last], "bbox_ctrness": rows[..., last:]}
    anchors = [of_image[:, 4:8] * size for of_image in rows]
    if head != "ssd":
        outputs, anchors = {key: [value] for key, value in outputs.items()}, [[of_image] for of_image in anchors]
    found: list[dict[str, Tensor]] = own.postprocess_detections(outputs, anchors, [(size, size)] * len(rows))
    return found
