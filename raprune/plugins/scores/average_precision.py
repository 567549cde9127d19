"""Mean average precision from detections, as the COCO challenge defines it.

Source: Lin et al., *Microsoft COCO: Common Objects in Context* (2014), and the reference evaluation, pycocotools:
detections of an image are matched with its boxes of the same class, best score first, each with the free box that it
overlaps most, if their intersection over union (IoU) reaches a threshold. Precision, made monotone from the right, is
read at 101 recalls and averaged over them, over classes and over thresholds.

Departures: a score is rounded to ``SCORE_BITS`` bits, and detections of equal scores enter the curve together, so that
the result does not depend on the order of the images. Boxes of all areas count.

A detection is one integer (:func:`pack`): all there is to know of it once its image is matched. Those of several images
are simply put together, which is what makes this score resumable and exact in any order.

Shapes: D detections, G boxes of an image, K classes, T thresholds.
"""

from __future__ import annotations

import math

import numpy as np

IOU_THRESHOLDS = tuple(0.5 + 0.05 * step for step in range(10))
RECALLS = np.linspace(0.0, 1.0, 101)
SCORE_BITS, CLASS_BITS, FLAG_BITS = 20, 8, len(IOU_THRESHOLDS)
MAX_CLASSES = 2**CLASS_BITS - 1
"""Most classes, without the background."""


def overlaps(boxes_D4: np.ndarray, others_G4: np.ndarray, crowd_G: np.ndarray) -> np.ndarray:
    """(D, G) float64: intersection over union; over the area of the first box alone where the other is a crowd."""
    boxes_D14, others_G4 = boxes_D4[:, None].astype(np.float64), others_G4.astype(np.float64)
    lows_DG2 = np.maximum(boxes_D14[..., :2], others_G4[:, :2])
    highs_DG2 = np.minimum(boxes_D14[..., 2:], others_G4[:, 2:])
    shared_DG = (highs_DG2 - lows_DG2).clip(min=0).prod(2)
    own_D1, other_G = ((box[..., 2:] - box[..., :2]).prod(-1) for box in (boxes_D14, others_G4))
    whole_DG = np.where(crowd_G, own_D1, own_D1 + other_G - shared_DG)
    iou_DG: np.ndarray = np.divide(shared_DG, whole_DG, out=np.zeros_like(shared_DG), where=whole_DG > 0)
    return iou_DG


def match(iou_DG: np.ndarray, crowd_G: np.ndarray, thresholds: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """(D, T) twice: whether a detection is right, and whether it is ignored, at each IoU threshold.

    ``iou_DG`` is -1 where the classes differ; its detections are sorted by score, the best first.
    """
    least_T = np.minimum(np.array(thresholds), 1 - 1e-10)
    hits_DT = np.zeros((len(iou_DG), len(thresholds)), dtype=bool)
    objects_DG = iou_DG[:, ~crowd_G]
    is_free_TG = np.ones((len(thresholds), objects_DG.shape[1]), dtype=bool)
    every_T = np.arange(len(thresholds))
    for index in np.flatnonzero((objects_DG >= least_T.min()).any(1)):
        reached_TG = np.where(is_free_TG & (objects_DG[index] >= least_T[:, None]), objects_DG[index], -1.0)
        best_T = reached_TG.shape[1] - 1 - reached_TG[:, ::-1].argmax(1)  # the last of equals, as the reference does
        hits_DT[index] = reached_TG[every_T, best_T] >= 0
        is_free_TG[every_T, best_T] &= ~hits_DT[index]
    in_crowd_DT = (iou_DG[:, crowd_G, None] >= least_T).any(1)
    return hits_DT, in_crowd_DT & ~hits_DT


def pack(scores_D: np.ndarray, classes_D: np.ndarray, hits_DT: np.ndarray, ignored_DT: np.ndarray) -> np.ndarray:
    """(D,) int64: score, class, and the two flags of each threshold; larger for a better score."""
    places_T = 1 << np.arange(hits_DT.shape[1])
    packed_D: np.ndarray = np.rint(scores_D.astype(np.float64) * 2**SCORE_BITS).astype(np.int64)
    packed_D = packed_D << CLASS_BITS | classes_D.astype(np.int64)
    packed_D = packed_D << FLAG_BITS | hits_DT @ places_T
    packed_D = packed_D << FLAG_BITS | ignored_DT @ places_T
    return packed_D


def unpack(packed_D: np.ndarray, num_thresholds: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Rounded scores (D,), as integers; classes (D,); and the flags (D, T) that :func:`pack` was given."""
    places_T = np.arange(num_thresholds)
    ignored_DT = (packed_D[:, None] >> places_T & 1).astype(bool)
    hits_DT = (packed_D[:, None] >> FLAG_BITS + places_T & 1).astype(bool)
    classes_D = packed_D >> 2 * FLAG_BITS & MAX_CLASSES
    return packed_D >> 2 * FLAG_BITS + CLASS_BITS, classes_D, hits_DT, ignored_DT


def mean_average_precision(packed_D: np.ndarray, num_boxes_K: np.ndarray, sure_K: np.ndarray, thresholds: int) -> float:
    """0 to 1, over the classes that have boxes; ``packed_D`` in any order.

    ``num_boxes_K`` counts the boxes of each class, ``sure_K`` how many of them count as found ahead of all detections.
    With the boxes of images that are still to come among ``sure_K``, this is the most that the score can become: at any
    score, it finds as many of them as can be found, and nothing that is wrong.
    """
    scores_D, classes_D, hits_DT, ignored_DT = unpack(np.sort(packed_D)[::-1], thresholds)
    values: list[float] = []
    classes = np.flatnonzero(num_boxes_K)
    for number in classes:
        of_class = classes_D == number
        curves = _curves(scores_D[of_class], hits_DT[of_class], ignored_DT[of_class], int(sure_K[number]))
        values += (v for curve in curves for v in _average(*curve, int(num_boxes_K[number])))
    return math.fsum(values) / (len(classes) * thresholds * len(RECALLS))


def _curves(
    scores_D: np.ndarray, hits_DT: np.ndarray, ignored_DT: np.ndarray, num_sure: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each threshold, the numbers of right and of wrong detections from each score on, best score first."""
    is_last_D = np.append(scores_D[1:] != scores_D[:-1], True)[: len(scores_D)]
    right_DT = np.cumsum(hits_DT, 0)[is_last_D] + num_sure
    wrong_DT = np.cumsum(~hits_DT & ~ignored_DT, 0)[is_last_D]
    if num_sure:
        first_1T = np.full((1, hits_DT.shape[1]), num_sure)
        right_DT, wrong_DT = np.concatenate([first_1T, right_DT]), np.concatenate([0 * first_1T, wrong_DT])
    return list(zip(right_DT.T, wrong_DT.T, strict=True))


def _average(right_D: np.ndarray, wrong_D: np.ndarray, num_boxes: int) -> list[float]:
    """The precision at each of ``RECALLS``; 0 beyond the recall that is reached."""
    all_D = right_D + wrong_D
    precision_D = np.divide(right_D, all_D, out=np.zeros(len(all_D)), where=all_D > 0)
    precision_D = np.append(np.maximum.accumulate(precision_D[::-1])[::-1], 0.0)
    precisions: list[float] = precision_D[np.searchsorted(right_D / num_boxes, RECALLS)].tolist()
    return precisions
