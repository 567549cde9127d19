"""What a baseline depends on, by content: baselines with equal sources are the same, whatever their files are called.

User code and initial weights are compared to the bit if the same versions made both. Under another version of Python
or torch the same code can have another form; :func:`differing` separates the two cases.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from dataclasses import asdict, dataclass

import torch

from raprune import __version__


@dataclass(frozen=True)
class Sources:
    """Fingerprints; one is empty where a name already identifies the part, such as one of raprune's networks."""

    network: str
    """Of the user's own network as it is traced: operations, modules, settings, shapes."""
    weights: str
    """Of its weights before it is trained: as they are drawn, or as the checkpoint has them."""
    code: str
    """Of the user's own score, and of what the user's own data set does to training images."""
    data: str
    """Of the images and labels of train and val, and of the normalisation."""
    test: str
    """Of those of test, and of the classes' names."""
    made_by: str
    """The versions that the fingerprints of code and of drawn weights belong to."""

    def as_json(self) -> dict[str, str]:
        return asdict(self)


ENCODED = "encoded-"
"""Begins the fingerprint of data whose training images were not decoded: it is of their files' bytes. That of decoded
images is of their pixels, so the two cannot be compared."""
PORTABLE = ("data", "test")
"""Parts whose fingerprint is the same under all versions."""


def made_here() -> str:
    """The versions by which this process would trace, draw and compile."""
    python = ".".join(map(str, sys.version_info[:2]))
    return (
        f"raprune {__version__}, torch {torch.__version__} ({torch.backends.cpu.get_cpu_capability()}), python {python}"
    )


def comparable(found: str, now: str) -> bool:
    """Whether two fingerprints of data were taken alike, so that other data have another one."""
    return found.startswith(ENCODED) == now.startswith(ENCODED)


def differing(found: Sources, now: Sources) -> tuple[Collection[str], Collection[str]]:
    """The parts that differ: for certain, and those that perhaps have another form only, as made or read otherwise."""
    parts = [name for name in ("network", "weights", "code", *PORTABLE) if getattr(found, name) != getattr(now, name)]
    same_versions = found.made_by == now.made_by
    certain = [name for name in parts if same_versions or name in PORTABLE]
    if "data" in certain and not comparable(found.data, now.data):
        certain.remove("data")
    return certain, [name for name in parts if name not in certain]
