"""Results on an object store: a local mirror in which a study works as in any folder, and what keeps the two alike.

A study whose results are at ``s3://bucket/study`` reads and writes a folder of this machine, its *mirror*. The path of
a mirror contains the address, so every process that is given the path, on whatever node, knows what it mirrors; nothing
else is passed on. The functions here are called where something is complete or needed, and do nothing for other
folders:

- :func:`bring` takes what the store has and the mirror lacks, before it is read.
- :func:`publish` sends what is complete, in the background; :func:`deliver` waits until it has arrived.
- :class:`Driving` is held by the process that runs the study.
- :func:`reading` opens results to read only, in a mirror of their own.
- :func:`hollow` shows what a store holds as a folder, to delete from; :func:`mirrors` finds the mirrors themselves.

What follows from the order in which files are sent is in ``mirror.py``.
"""

from raprune.system.store.address import address_of, is_mirrored, is_own, shown
from raprune.system.store.copies import Copy, copy_at, free, mirrors
from raprune.system.store.driving import Driving
from raprune.system.store.hollow import hollow
from raprune.system.store.hooks import (
    bring,
    bring_complete,
    bring_now,
    deliver,
    discard,
    held_elsewhere,
    publish,
    publish_later,
    removed,
)
from raprune.system.store.places import given_out, given_results
from raprune.system.store.reading import reading, seen, send, studies_at, tables

__all__ = [
    "Copy", "Driving", "address_of", "bring", "bring_complete", "bring_now", "copy_at", "deliver", "discard", "free",
    "given_out", "given_results", "held_elsewhere", "hollow", "is_mirrored", "is_own", "mirrors", "publish",
    "publish_later", "reading", "removed", "seen", "send", "shown", "studies_at", "tables",
]  # fmt: skip
