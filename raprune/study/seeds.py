"""Seeds as hashes of exactly the names a draw depends on."""

from __future__ import annotations

import hashlib
import json
from typing import Any

NUMERICS_VERSION = 1
"""Increased whenever the same study would yield other numbers; part of every ``trial_id``."""


def digest(*parts: Any, length: int = 12) -> str:
    """The first ``length`` hex digits of a hash of JSON-able ``parts``; the same on every machine."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def seed_for(*names: Any) -> int:
    """A 63-bit seed that depends on ``names`` alone, never on a worker, a process or the time."""
    return int(digest(*names, length=16), 16) >> 1
