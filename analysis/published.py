"""What the paper printed about VGG-16 and ResNet-18 on CIFAR-10, to stand behind the same networks' results.

Source: Huang, Zhou, You, Neumann, *Learning to Prune Filters in Convolutional Neural Networks*, WACV 2018, arXiv
1801.07365, tables of CIFAR-10, taken from a third party's record of them: which drop bound a row belongs to is less
certain than its numbers. Their networks, training and split are their own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .labels import text

SOURCE = "Huang et al. 2018"
DATASET = "cifar10"
POINTS: dict[str, tuple[tuple[float, float, float], ...]] = {
    "vgg16": ((0.5, 0.6, 0.450), (1.0, 1.1, 0.552), (2.0, 1.9, 0.645), (4.0, 3.4, 0.806)),
    "resnet18": ((0.5, 0.3, 0.242), (1.0, 1.0, 0.355), (2.0, 1.7, 0.647), (4.0, 2.9, 0.760)),
}
"""Network -> drop bound, score drop (points of top-1 accuracy) and share of the multiply-adds removed."""


def published_for(trial: Mapping[Any, Any]) -> tuple[tuple[float, float, float], ...]:
    """The published points of a trial's network, data set and score; none for any other."""
    width = json.loads(text(trial["model_settings"]) or "{}").get("width", 1)
    alike = trial["dataset"] == DATASET and trial["score_name"] == "top1_accuracy" and width == 1
    return POINTS.get(str(trial["model"]), ()) if alike else ()
