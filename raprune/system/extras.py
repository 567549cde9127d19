"""Settings of plug-ins that need a package which an extra of raprune brings."""

from __future__ import annotations

import importlib.util
from typing import ClassVar

from raprune.registry import Settings


class NeedsPackage(Settings):
    """Refuses a plug-in whose package is not installed, with the command that installs it."""

    package: ClassVar[str]
    """What is imported."""
    extra: ClassVar[str]
    """The extra of raprune that brings it."""

    def packages(self) -> tuple[str, ...]:
        """All that these settings need."""
        return (self.package,)

    def problems(self) -> list[tuple[str, str]]:
        for package in self.packages():
            if importlib.util.find_spec(package) is None:
                way_on = f"pip install 'raprune[{self.extra}]' brings it"
                return [("name", f"needs the package {package}, which is not installed; {way_on}")]
        return []
