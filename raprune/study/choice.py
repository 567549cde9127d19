"""A plug-in as a checked study holds it."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from raprune.registry import Settings


class Choice(Settings):
    """A plug-in by name with its complete settings (defaults filled in)."""

    name: str
    settings: dict[str, Any] = Field(default_factory=dict)
