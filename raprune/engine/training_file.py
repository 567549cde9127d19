"""The state of a long training on disk, so that one whose process dies goes on from it, wherever that may be.

A file is found by the digest of everything that the training depends on, so no other training takes it up. It holds
plain tensors; nothing in it is run. It lies in the study's folder, or in its mirror where results are on a store. The
result of a training that has ended stays for a while, because whoever asked for it may die before it is committed; when
a study is complete, all is removed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
import uuid
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from raprune.errors import DamagedError, RapruneError, naming
from raprune.identity import of_tensors
from raprune.network.weights import save_safetensors
from raprune.study.seeds import NUMERICS_VERSION, digest
from raprune.system.store import bring_now, discard, publish, removed
from raprune.system.telling import Notice

FOLDER = "training"
"""In a study's folder."""
SO_FAR, DONE = "so_far.safetensors", "done.safetensors"
FORMAT = "1"
EVERY_S = 60.0
"""Seconds of training that may be lost: a shorter training writes nothing."""
SHARE = 0.02
"""Largest share of the time that writing may take."""

KEPT_BYTES = 2 * 2**30
"""Of results of trainings that have ended; the oldest goes first."""

Clock = Callable[[], float]


class TrainingFile:
    """Where one training is kept, from time to time; what cannot be read or written costs time, never the training."""

    def __init__(self, study: Path, *depends_on: Any, clock: Clock = time.monotonic) -> None:
        """``study``: the folder of the study. ``depends_on``: JSON-able, all that decides how the training goes.

        The versions of torch and of raprune's numbers are added to it.
        """
        self.key = digest(str(torch.__version__), NUMERICS_VERSION, *depends_on, length=32)
        self.folder = study / FOLDER / self.key
        self._clock = clock
        self._due = clock() + EVERY_S
        self._is_long = False
        """Whether there is or was a file of it."""

    def load(self, take_up: Callable[[Mapping[str, Tensor]], None]) -> None:
        """Hand what an earlier process has written, if anything, to ``take_up``, which may raise.

        What cannot be used is told in one sentence, and removed.
        """
        bring_now(self.folder)
        for file in (self.folder / DONE, self.folder / SO_FAR):
            if not os.path.lexists(file):
                continue
            self._is_long = True
            try:
                take_up(self._read(file))
                break
            except (RapruneError, RuntimeError, ValueError, KeyError, OSError) as error:
                why = str(error) if isinstance(error, RapruneError) else f"{file} cannot be used: {error}"
                warnings.warn(f"{why}; this training starts again from its beginning", Notice, stacklevel=3)
                _remove(file)
        self._due = self._clock() + EVERY_S

    def _read(self, file: Path) -> dict[str, Tensor]:
        if not file.is_file() or file.is_symlink():
            raise DamagedError(f"{file} is not a file that raprune wrote")
        with naming(file), safe_open(file, framework="pt") as found:
            header = found.metadata() or {}
            tensors = {name: found.get_tensor(name) for name in found.keys()}  # noqa: SIM118  (it is no mapping)
        if (header.get("format"), header.get("training")) != (FORMAT, self.key):
            raise DamagedError(f"{file} is of another training, or of another version of raprune")
        if header.get("fingerprint") != of_tensors(tensors):
            raise DamagedError(f"{file} has changed since it was written")
        return tensors

    def is_due(self) -> bool:
        """Whether so much time has passed that the training is to be written."""
        return self._clock() >= self._due

    def save(self, tensors: Mapping[str, Tensor]) -> None:
        """Write the training in place of what was written before; what fails is told in one sentence."""
        start = self._clock()
        self._write(self.folder / SO_FAR, tensors)
        now = self._clock()
        self._due = now + max(EVERY_S, (now - start) / SHARE)

    def end(self, tensors: Mapping[str, Tensor]) -> None:
        """Keep the result of a training that was long, in place of what was written while it lasted."""
        if (self._is_long or self.is_due()) and not (self.folder / DONE).exists():
            self._write(self.folder / DONE, tensors)
            _make_room(self.folder.parent)
        if self._is_long and os.path.lexists(self.folder / SO_FAR):
            _remove(self.folder / SO_FAR)

    def _write(self, file: Path, tensors: Mapping[str, Tensor]) -> None:
        own = {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}
        header = {"format": FORMAT, "training": self.key, "fingerprint": of_tensors(own)}
        aside = self.folder / f".{uuid.uuid4().hex}"  # several processes may be at the same training
        try:
            with naming(self.folder):
                self.folder.parent.mkdir(exist_ok=True)
                self.folder.mkdir(exist_ok=True)
            save_safetensors(own, aside, header)
            os.replace(aside, file)
        except (RapruneError, OSError) as error:
            text = f"{error}; until it can be written, a training that is cut short is repeated"
            warnings.warn(text, Notice, stacklevel=4)
        else:
            self._is_long = True
            publish(self.folder)

    def forget(self) -> None:
        """Remove all of it: its result is kept elsewhere."""
        if self._is_long:
            discard(self.folder)


def forget_trainings(study: Path) -> None:
    """Remove what is left of all trainings of a study."""
    discard(study / FOLDER)


def _make_room(trainings: Path) -> None:
    """Remove the oldest results until the others take no more than they may."""
    found: list[tuple[float, int, Path]] = []
    for file in trainings.glob(f"*/{DONE}"):
        with contextlib.suppress(OSError):
            stat = file.lstat()
            found.append((stat.st_mtime, stat.st_size, file))
    taken = 0
    for _, size, file in sorted(found, reverse=True):
        taken += size
        if taken > KEPT_BYTES:
            discard(file.parent)


def _remove(file: Path) -> None:
    """Remove one file, or a folder in its place, here and on the store."""
    with contextlib.suppress(OSError, RapruneError):
        if file.is_dir() and not file.is_symlink():
            shutil.rmtree(file, ignore_errors=True)
        else:
            file.unlink()
        removed(file)
        publish(file.parent)
