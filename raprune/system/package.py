"""Where raprune itself lies: no module asks its own path, which changes when the module moves."""

from __future__ import annotations

import importlib.resources
from pathlib import Path

FOLDER = Path(str(importlib.resources.files("raprune")))
"""The folder ``raprune/`` that is imported."""
