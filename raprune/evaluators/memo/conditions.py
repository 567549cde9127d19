"""The memo's key: exactly what a candidate's score depends on.

The key omits what the score does not depend on: study, trial, bound, floor, order, method and its seed, update and
sample, the fine-tunes after the reward, and where and how candidates are scored (evaluators, engine, cache).
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import torch

from raprune.engine.workload import Baseline, Workload
from raprune.study.seeds import NUMERICS_VERSION, digest

SCOPE_DIGITS = MASK_DIGITS = 24
"""Hex digits of each half of a key, 96 bits: no two keys of a study are ever equal by chance."""


@dataclass(frozen=True)
class Conditions:
    """The parts of a key that all candidates of a trial share."""

    finetune: dict[str, Any]
    """Length and recipe of the fine-tune before the reward."""
    fidelity: dict[str, Any]
    """How candidates are scored approximately."""
    score: dict[str, Any]
    """Name and settings."""
    scoring: dict[str, Any]
    """Batch size, which also says where a tally stops, and threads."""
    data_seed: int
    residual: str
    data: str
    """Fingerprint of the images and labels."""
    weights: str
    """Fingerprint of the baseline's weights; states name the baseline by its settings only."""
    val_order: str
    """Fingerprint of the order in which candidates see val's images; a partial tally counts the first of them."""
    code: str | None
    """Digest of the user's own plug-ins."""
    device_type: str
    """Scores on one type need not equal those on another bit for bit."""
    split: str = "val"
    torch_version: str = str(torch.__version__)
    numerics_version: int = NUMERICS_VERSION

    @classmethod
    def of(cls, workload: Workload, baseline: Baseline, device_type: str) -> Conditions:
        """The conditions of a trial; ``baseline`` must be prepared, so that its fingerprints are known."""
        if not (baseline.data_fingerprint and baseline.weights_fingerprint and baseline.val_order_fingerprint):
            raise ValueError(f"the baseline in {baseline.folder} has no fingerprints: it was not prepared")
        return cls(
            finetune=workload.finetune.model_dump(mode="json", exclude={"after_layer", "at_end"}),
            fidelity=workload.fidelity.model_dump(mode="json"),
            score=workload.score.model_dump(mode="json"),
            scoring=workload.scoring.model_dump(mode="json"),
            data_seed=workload.data_seed,
            residual=workload.residual,
            data=baseline.data_fingerprint,
            weights=baseline.weights_fingerprint,
            val_order=baseline.val_order_fingerprint,
            code=baseline.own_code,
            device_type=device_type,
        )

    @cached_property
    def _digest(self) -> str:
        return digest(asdict(self), length=64)

    def scope(self, state: str, layer: str) -> str:
        """First half of the keys of all candidates for one layer of one state; ``state`` is the state's version."""
        return digest(self._digest, state, layer, length=SCOPE_DIGITS)


def key_of(scope: str, mask: bytes) -> str:
    """The key of one candidate: ``scope``, and a digest of its packed keep mask."""
    return scope + hashlib.blake2b(mask, digest_size=MASK_DIGITS // 2).hexdigest()
