"""A simulated evaluator, alone in its file: its processes load neither torch nor the project."""

from __future__ import annotations

import asyncio
from typing import Any


class Sleeper:
    """Takes as long as it is told."""

    async def evaluate(self, items: list[Any], seconds: float) -> list[Any]:
        await asyncio.sleep(seconds * len(items))
        return items

    async def ping(self) -> None: ...
