"""What two networks' answers to the same fresh images say of the score drop between them.

The drop is estimated by its value on these images and bounded from above by a one-sided confidence limit:

- A share of right images, such as top-1 accuracy, follows from two numbers: images that the first network alone has
  right (``lost``), and those that the second alone has right (``won``). The limit is the score limit of Tango,
  *Equivalence test and confidence interval for the difference in proportions for the paired-sample design*, Statistics
  in Medicine 17 (1998), 891-908, equation 5: the non-inferiority form of McNemar's test. It needs no large counts, and
  is above the drop even where the two networks answer alike.
- Any other score, such as mean IoU, PSNR or mean average precision, is a function of what all images together gave. Its
  limit is the drop plus Student's t times a jackknife standard error of the paired drop (Efron and Tibshirani, *An
  Introduction to the Bootstrap*, 1993, chapter 11), over the images in at most ``MAX_GROUPS`` groups.

Either limit is for images that decided nothing: what is said after several looks at the same images is in
``raprune/trial/guard.py``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean

import torch
from torch import Tensor

from raprune.plugins.scores.base import Score, fetched, merged

MAX_GROUPS = 200
"""Most groups of images that the jackknife leaves out in turn."""
CHANGED = 5.0
"""Percent of the images on which a pruned network's answer becomes right or wrong, where that is not yet known."""


Group = tuple[Tensor, Tensor, Tensor]
"""The counts of the first and of the second network on some images, and the totals of these images."""


@dataclass(frozen=True)
class Paired:
    """A network beside another one on the same images; scores in the score's unit, drops in points of it."""

    score: float
    drop: float
    """The other network's score minus ``score``: positive is worse."""
    num_images: int
    standard_error: float
    """Of ``drop``, by the jackknife."""
    num_groups: int
    """Groups of images in the jackknife."""
    lost: int | None = None
    """Images that only the other network has right; ``None`` where the score is not a share of right images."""
    won: int | None = None
    """Images that only this network has right."""

    @property
    def usual_error(self) -> float:
        """The standard error of ``drop`` if ``CHANGED`` percent of the answers change; 0 where that tells nothing."""
        return 0.0 if self.lost is None else usual_error(self.num_images)

    def limit(self, confidence: float = 0.95) -> float:
        """The one-sided upper confidence limit of the drop on fresh images, points; at 0.5 about the drop itself."""
        if self.lost is not None and self.won is not None:
            return 100.0 * largest_difference(self.lost, self.won, self.num_images, confidence)
        from scipy.special import stdtrit  # here: few scores need it, and each process would wait

        return self.drop + float(stdtrit(self.num_groups - 1, confidence)) * self.standard_error


def usual_error(num_images: int) -> float:
    """The standard error, in points, of a drop in the share of right images if ``CHANGED`` percent of them change."""
    return 10 * math.sqrt(CHANGED / num_images)


def largest_difference(lost: float, won: float, num_images: int, confidence: float) -> float:
    """Tango's one-sided upper limit of (lost - won) / num_images, a share: the root in d of lost - won - n d = -z s(d).

    With q the most likely share of won images where the difference is d, s(d)^2 = n (2 q + d (1 - d)).
    """
    z = NormalDist().inv_cdf(confidence)

    def too_large(d: float) -> bool:
        b = -lost - won + (2 * num_images - lost + won) * d
        q = (math.sqrt(max(0.0, b * b + 8 * num_images * won * d * (1 - d))) - b) / (4 * num_images)
        return lost - won - num_images * d < -z * math.sqrt(max(0.0, num_images * (2 * q + d * (1 - d))))

    low, high = (lost - won) / num_images, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if too_large(middle) else (middle, high)
    return high if z > 0 else low


def images_needed(drop: float, changed: float, bound: float, confidence: float) -> int:
    """Fewest images on which the limit of a share of right images is within ``bound``, all in points.

    The network loses ``drop``; on ``changed`` percent of the images its answer becomes right or wrong.
    """
    if drop >= bound:
        raise ValueError(f"a drop of {drop:g} is not below the bound of {bound:g}")

    def enough(number: int) -> bool:
        lost, won = number * (changed + drop) / 200, number * (changed - drop) / 200
        return 100 * largest_difference(lost, won, number, confidence) <= bound

    high = 2
    while not enough(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def is_share(score: Score) -> bool:
    """Whether a score is the percentage of right images, as far as two labels tell."""
    try:
        two = score.whole(torch.tensor([0, 1]))
        return score.labels == "image" and two.tolist() == [2] and score.value(torch.tensor([1]), two) == 50.0
    except Exception:  # a user's score may raise anything
        return False


class PairedCounts:
    """Collects two networks' answers, batch by batch."""

    def __init__(self, score: Score, num_images: int) -> None:
        self._score = score
        self._num_images = num_images
        self._num_groups = min(num_images, MAX_GROUPS)
        self._groups: list[Group] = []
        self._seen = self._lost = self._won = 0
        self._is_share = is_share(score)

    def add(self, first: Tensor, second: Tensor, labels_B: Tensor) -> None:
        """Add a batch: the outputs of both networks, and the labels."""
        items = [slice(index, index + 1) for index in range(len(labels_B))]
        of_first, of_second = ([self._score.counts(o[item], labels_B[item]) for item in items] for o in (first, second))
        wholes = [self._score.whole(labels_B[item]) for item in items]
        for counts in zip(*map(fetched, (of_first, of_second, wholes)), strict=True):
            self._add(*counts)

    def _add(self, first: Tensor, second: Tensor, whole: Tensor) -> None:
        self._is_share = self._is_share and whole.tolist() == [1]  # else some images count for more than others
        if self._is_share:
            self._lost += int(first > second)
            self._won += int(second > first)
        place = self._seen * self._num_groups // self._num_images
        if place == len(self._groups):
            self._groups.append((first, second, whole))
        else:
            a, b, w = self._groups[place]
            self._groups[place] = merged(self._score, [a, first]), merged(self._score, [b, second]), w + whole
        self._seen += 1

    def result(self) -> Paired:
        """The second network beside the first, on all images added."""
        first, second, whole = self._together(self._groups)
        drops = [self._drop(*self._together(others)) for others in self._leaving_one_out()]
        number = len(drops)
        error = math.sqrt((number - 1) / number * math.fsum((d - fmean(drops)) ** 2 for d in drops)) if drops else 0.0
        shares = {"lost": self._lost, "won": self._won} if self._is_share else {}
        score = self._score.value(second, whole)
        return Paired(score, self._drop(first, second, whole), self._seen, error, number, **shares)

    def _leaving_one_out(self) -> Iterator[list[Group]]:
        """The groups without one of them, each in turn; nothing where there is a single group."""
        for place in range(len(self._groups) if len(self._groups) > 1 else 0):
            yield self._groups[:place] + self._groups[place + 1 :]

    def _together(self, groups: Sequence[Group]) -> Group:
        first, second, whole = zip(*groups, strict=True)
        return merged(self._score, first), merged(self._score, second), torch.stack(whole).sum(0)

    def _drop(self, first: Tensor, second: Tensor, whole: Tensor) -> float:
        return self._score.value(first, whole) - self._score.value(second, whole)
