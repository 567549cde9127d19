"""What the process that runs a study does for its store: claims it, takes it, and sends everything before it ends."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType

from raprune.errors import ResultsError, StorageError
from raprune.system.store.address import is_own, root_of
from raprune.system.store.claim import BEAT_S, Claim
from raprune.system.store.hooks import publisher_of
from raprune.system.store.mirror import ROOT_FILES
from raprune.system.store.publisher import Tell
from raprune.system.store.remote import patiently


class Driving:
    """Held while a study runs in ``out``; nothing happens for a folder that is no mirror.

    Entering raises :class:`raprune.errors.StorageError` where the store cannot be used, and
    :class:`raprune.errors.ResultsError` where another machine runs the study. Leaving waits until everything has
    arrived; what has not after minutes raises, and is sent by the next run on this machine.
    """

    def __init__(self, out: Path, tell: Tell) -> None:
        root = root_of(out)
        self._root = root if root is not None and is_own(root) else None
        self._tell = tell
        self._ended = threading.Event()

    def __enter__(self) -> Driving:
        if self._root is None:
            return self
        self._publisher = publisher_of(self._root)
        self._publisher.tell, self._publisher.halted = self._tell, None
        mirror = self._publisher.mirror
        mirror.remote.check()
        self._claim = Claim(self._root, mirror.remote)
        self._claim.take()
        try:
            self._tell(f"taking what {mirror.address} has; this machine's copy is {self._root}")
            mirror.journal.compact()
            patiently(mirror.take, self._tell)
        except BaseException:
            self._claim.drop()
            raise
        self._publisher.note("")
        self._beats = threading.Thread(target=self._beat, name="raprune-claim", daemon=True)
        self._beats.start()
        return self

    def _beat(self) -> None:
        """Show that this process lives, and send what it shows of its progress."""
        while not self._ended.wait(BEAT_S) and self._publisher.halted is None:
            try:
                self._claim.beat()
            except ResultsError as error:
                self._publisher.halted = str(error)
            except StorageError:  # the publisher tells of it
                continue
            self._publisher.note(ROOT_FILES)

    def _deliver(self, quietly: bool) -> None:
        try:
            self._publisher.deliver()
        except StorageError as error:
            if not quietly:
                raise
            self._tell(str(error))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._root is None:
            return
        try:
            if self._publisher.halted is None:
                self._publisher.note("")
                self._deliver(quietly=error is not None)
        finally:
            self._ended.set()
            self._beats.join()
            self._claim.drop()
