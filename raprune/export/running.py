"""The form of an exported network once it is loaded."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

Run = Callable[[Tensor], Tensor]
"""Input (B, C, H, W) to logits, both on the CPU."""
