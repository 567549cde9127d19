"""Names that an installed library gives to its networks and data sets, as its source files tell of them.

Importing such a library takes seconds. Where its source does not tell its names for sure, nothing is said of a name,
and the import decides.
"""

from __future__ import annotations

import ast
import re
from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from raprune.registry import nearest
from raprune.study.own_code import spec_of

REGISTERED = re.compile(r"^@register_model\b(.*)\n(?:(?!def |class |@register_model).*\n)*?def (\w+)", re.M)
"""A network's function, and what is given to its decorator."""
OTHERWISE = re.compile(
    r"^(?!def |\s*#)(?:.*(?<![@\w])register_model\(|[ \t]+@register_model\b|.*\w\.register_model\b"
    r"|.*\bregister_model as (?!register_model\b)|@register_model\b[^)\n]*\([^)\n]*$)",
    re.M,
)
"""A line that may register a name which ``REGISTERED`` does not find."""
DEPRECATED = re.compile(r"^register_model_deprecations\(__name__, \{(.*?)^\}\)", re.M | re.S)
"""timm's names of earlier versions, which it still takes."""
DEPRECATES = re.compile(r"^(?!def |\s*#).*\bregister_model_deprecations\(", re.M)
QUOTED = re.compile(r"[\"'](\w+)[\"']")


@dataclass(frozen=True)
class Known:
    """The names of a library."""

    names: Collection[str]
    also: Collection[str] = ()
    """Names that it takes, but no longer lists."""


@dataclass(frozen=True)
class LibraryName(ABC):
    """In ``Annotated[str, ...]``: a setting that takes a name of another library."""

    unknown: str
    """What is said of an unknown name, which follows, such as ``timm has no network``."""

    @abstractmethod
    def known(self) -> Known | None:
        """The library's names; ``None`` where they are not known for sure."""

    def problem(self, name: str) -> str | None:
        """What is wrong with ``name``, if that is sure."""
        known = self.known()
        return None if known is None or self.takes(name, known) else self.said(name, known.names)

    def takes(self, name: str, known: Known) -> bool:
        """Whether the library takes ``name``."""
        return name in known.names

    def said(self, name: str, known: Collection[str]) -> str:
        """What is said of ``name``, which is not ``known``."""
        return f"{self.unknown} {name!r}{nearest(name, list(known))}"


@dataclass(frozen=True)
class RegisteredIn(LibraryName):
    """A network that a module in ``package`` registers with ``@register_model``, as torchvision and timm do."""

    package: str

    def known(self) -> Known | None:
        return _registered(self.package)

    def takes(self, name: str, known: Known) -> bool:
        return name.partition(".")[0] in {*known.names, *known.also}  # what follows the point is a tag of weights


@dataclass(frozen=True)
class ExportedBy(LibraryName):
    """A name in the list ``__all__`` of ``package``."""

    package: str

    def known(self) -> Known | None:
        return _exported(self.package)


@dataclass(frozen=True)
class OneOf(LibraryName):
    """One of ``names``, whatever else the library has."""

    names: tuple[str, ...]
    because: tuple[tuple[str, str], ...] = ()
    """Part of a name -> why there is none with it."""

    def known(self) -> Known | None:
        return Known(self.names)

    def said(self, name: str, known: Collection[str]) -> str:
        for part, why in self.because:
            if part in name:
                return f"{name} {why} (known: {', '.join(known)})"
        return super().said(name, known)


@cache
def _registered(package: str) -> Known | None:
    names: set[str] = set()
    also: set[str] = set()
    for text in _texts(package):
        deprecated = DEPRECATED.findall(text)
        if OTHERWISE.search(text) or len(DEPRECATES.findall(text)) != len(deprecated):
            return None
        for given, function in REGISTERED.findall(text):
            names.update(QUOTED.findall(given) or [function])
        also.update(word for block in deprecated for word in QUOTED.findall(block))
    return Known(names, also) if names else None


@cache
def _exported(package: str) -> Known | None:
    try:
        (text,) = _texts(package, "__init__.py")
        lists = [node for node in ast.parse(text).body if "__all__" in ast.unparse(node).partition("\n")[0]]
        (assigned,) = lists  # one that is extended is not known for sure
        return Known([str(name) for name in ast.literal_eval(ast.unparse(assigned).partition(" = ")[2])])
    except (SyntaxError, TypeError, ValueError):
        return None


def _texts(package: str, pattern: str = "*.py") -> list[str]:
    """The source files of a package, not of those inside it; none where they cannot be read."""
    try:
        spec = spec_of(package)
        folders = (spec.submodule_search_locations if spec else None) or ()
        return [file.read_text(encoding="utf-8") for folder in folders for file in sorted(Path(folder).glob(pattern))]
    except (ImportError, OSError, ValueError):
        return []
