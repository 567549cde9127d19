"""Results on a store that are only read: in a mirror of their own, which is never published.

It is brought up to date each time it is opened. The process that runs the study has another mirror, which it alone
changes.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path

from raprune.errors import InputError, StorageError
from raprune.system.store.address import READ, address_of, root_of
from raprune.system.store.claim import holder
from raprune.system.store.journal import FOLDER
from raprune.system.store.mirror import Mirror
from raprune.system.store.remote import Remote

SEEN = "seen.json"
MANIFEST = "manifest.json"
"""What every study has."""
_MIRRORS: dict[Path, tuple[Mirror, float]] = {}
"""The mirrors that this process reads, and when each was brought up to date."""


def tables(name: str) -> bool:
    """Whether an object is read by reports, lists and comparisons: all but weights, memo and reports."""
    return not name.endswith(".safetensors") and everything(name)


def everything(name: str) -> bool:
    """Whether an object is a result: the memo, trainings that were cut short and reports are none."""
    return name.partition("/")[0] not in ("memo", "training", "report")


def reading(place: Path, wanted: Callable[[str], bool] = everything, every_s: float = 0.0) -> Path:
    """Bring the mirror in which ``place`` is up to date, at most ``every_s``; returns ``place``.

    A folder that is no mirror for reading is returned as it is. Raises :class:`InputError` where the store has nothing
    at the address, :class:`raprune.errors.StorageError` where it cannot be read; one that is read again and again
    (``every_s``) may be away meanwhile.
    """
    root = root_of(place)
    if root is None or root.parent.name != READ:
        return place
    mirror, at = _MIRRORS.get(root, (Mirror(root), float("-inf")))
    if time.monotonic() - at < every_s and root.is_dir():  # `clean --mirrors` may have removed it
        return place
    try:
        mirror.remote.check()
        found = mirror.take("", wanted)
    except StorageError:
        if not every_s or root not in _MIRRORS:
            raise
        return place  # what was read a moment ago, until the store is back
    if not found:
        raise InputError(f"{mirror.address} contains no results")
    seen = {
        "holder": holder(mirror.remote),
        "num_bytes": sum(stamp.size for stamp in found.values()),
        "changed_s": max(stamp.second for stamp in found.values()),
    }
    (root / FOLDER).mkdir(parents=True, exist_ok=True)
    (root / FOLDER / SEEN).write_text(json.dumps(seen), encoding="utf-8")
    _MIRRORS[root] = mirror, time.monotonic()
    return place


def seen(place: Path) -> dict[str, object] | None:
    """What the store showed of a study when it was read: ``holder``, ``num_bytes``, ``changed_s``.

    ``None`` for any folder but a mirror for reading.
    """
    root = root_of(place)
    if root is None or root.parent.name != READ:
        return None
    with contextlib.suppress(OSError, ValueError):
        found = json.loads((root / FOLDER / SEEN).read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    return {}


def studies_at(place: Path) -> list[Path] | None:
    """The mirrors of the studies directly below an address, up to date.

    ``None`` where the address is a study's, whose mirror is brought up to date, and for any other folder.
    """
    root = root_of(place)
    if root is None or root.parent.name != READ:
        return None
    address = address_of(root)
    remote = Remote(address)
    remote.check()
    if place != root or remote.stamps_of([MANIFEST]):
        reading(place, tables)
        return None
    folders = [address.below(name) for name in remote.folders()]
    found = remote.stamps_of([f"{folder.path.rpartition('/')[2]}/{MANIFEST}" for folder in folders])
    return [reading(address.below(name.partition("/")[0]).mirror(READ), tables) for name in found]


def send(file: Path) -> None:
    """Write one file of a mirror for reading to its store: what ``bench`` adds to a trial."""
    root = root_of(file)
    if root is not None and root.parent.name == READ:
        name = file.relative_to(root).as_posix()
        Mirror(root).remote.put(name, file.read_bytes())
