"""What a run reads from outside: a program's own network and data, data sets, and a user's own modules."""

from __future__ import annotations

import contextlib
import copy
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from raprune.errors import InputError, first_line
from raprune.network.graph.ambient import plain_torch
from raprune.network.graph.checks import bare, on_cpu
from raprune.plugins.datasets.base import Splits, check_splits, set_aside, shift_and_flip
from raprune.plugins.datasets.reading import Reading, on_this_host, parts_of, reading_as
from raprune.registry import DATASETS, MODELS, is_given, is_imported
from raprune.study.parts import DataSpec
from raprune.study.schema import Choice, DataChoice
from raprune.study.seeds import seed_for
from raprune.system.paths import expanded

MAX_READ = 4
"""Data sets held in memory at a time."""


@dataclass(frozen=True)
class Given:
    """A program's own network and data, each with the digest of its content; a study names them by these digests."""

    network_digest: str
    data_digest: str
    network: nn.Module
    splits: Splits


class Inputs:
    """Builds the networks and reads the data that a study names; each data set is decoded once.

    The caller that starts a run opens it, passes it down and closes it. Nothing that it holds outlives it: the next
    one reads everything anew.
    """

    def __init__(self, import_path: Iterable[str] = (), tell: Callable[[str], None] = lambda text: None) -> None:
        """``tell`` is told of work on large data sets that takes long the first time."""
        self._tell = tell
        self._how: Reading | None = None
        self.networks: dict[str, nn.Module] = {}
        """Digest -> network that a program gave."""
        self._given: dict[str, Splits] = {}
        """Digest -> data that a program gave."""
        self._read: dict[str, Splits] = {}
        """Data set (JSON) -> what was decoded."""
        self._encoded: dict[str, Splits] = {}
        """Data set (JSON) -> the same, encoded, where that is more than fits into memory."""
        self._files: dict[str, Callable[[], bytes | memoryview]] = {}
        """File as a study names it -> reads its bytes, which another process provides."""
        self._import_path: list[str] = []
        self.import_from(*import_path)

    def __enter__(self) -> Inputs:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Drop everything and restore the import path; modules already imported stay imported."""
        for held in (self.networks, self._given, self._read, self._encoded, self._files):
            held.clear()
        for folder in self._import_path:
            with contextlib.suppress(ValueError):  # the user's own code may edit the path, too
                sys.path.remove(folder)
        self._import_path.clear()

    def import_from(self, *folders: str) -> None:
        """Make a user's own modules in ``folders`` importable until :meth:`close`, as ``python -m`` does."""
        new = [folder for folder in folders if folder not in self._import_path]
        sys.path[:0] = new
        self._import_path += new

    def import_for(self, names: Iterable[str]) -> None:
        """Call :meth:`import_from` with the working folder if any of a study's ``names`` is an import path."""
        if any(map(is_imported, names)):
            self.import_from(os.getcwd())

    def read_as(self, spec: DataSpec) -> None:
        """Hold images from now on as a study says."""
        self._how = replace(Reading.of(spec), tell=self._tell)

    def give(self, given: Given) -> None:
        """Register a program's own network and data, so that studies find them."""
        self.networks[given.network_digest] = given.network
        self._given[given.data_digest] = given.splits

    def lacks(self, *choices: Choice) -> bool:
        """Whether any of these is an object that a program passed in, and that was not given here."""
        known = {*self.networks, *self._given}
        return any(is_given(choice.name) and choice.settings.get("digest") not in known for choice in choices)

    def provide(self, key: str, splits: Splits) -> None:
        """Register data that need not be listed here; ``key`` is the data set's choice as JSON."""
        self._hold(key, splits)

    def provide_file(self, name: str, read: Callable[[], bytes | memoryview]) -> None:
        """Register a file that need not exist here; ``name`` as the study has it, ``read`` returns its bytes."""
        self._files[name] = read

    @contextlib.contextmanager
    def file(self, name: str) -> Iterator[Path]:
        """A file that a study names: as it is here, or a copy of what :meth:`provide_file` registered."""
        path = expanded(name)
        if name not in self._files:
            yield path
            return
        with tempfile.TemporaryDirectory(prefix="raprune-file-") as folder:
            copied = Path(folder) / path.name
            copied.write_bytes(self._files[name]())
            yield copied

    def drop_read(self) -> None:
        """Drop all decoded data; a program's own data stay."""
        self._read.clear()
        self._encoded.clear()

    def encoded(self, dataset: Choice) -> Splits:
        """As :meth:`data`, but what is decoded from files for each process is still encoded, for another process."""
        splits = self.data(dataset)
        return self._encoded.get(dataset.model_dump_json(), splits)

    def data(self, dataset: Choice) -> Splits:
        """A data set, decoded once, with its guard set aside where ``dataset`` has one.

        Raises :class:`InputError` for a split without images, or with too few for a guard.
        """
        key = dataset.model_dump_json()
        if key not in self._read:
            while len(self._read) >= MAX_READ:
                oldest = next(iter(self._read))
                del self._read[oldest]
                self._encoded.pop(oldest, None)
            splits = self._open(dataset)
            with self._naming(dataset):
                self._hold(key, splits)
        return self._read[key]

    def _hold(self, key: str, splits: Splits) -> None:
        if any(split.stream is not None for split in parts_of(splits).values()):
            self._encoded[key] = splits
            splits = on_this_host(splits, self._reading())
        self._read[key] = splits

    def _reading(self) -> Reading:
        if self._how is None:
            self.read_as(DataSpec())
        assert self._how is not None
        return self._how

    @staticmethod
    @contextlib.contextmanager
    def _naming(dataset: Choice) -> Iterator[None]:
        try:
            yield
        except InputError as error:
            raise InputError(f"dataset {dataset.name}: {error}") from error

    def _open(self, dataset: Choice) -> Splits:
        settings = dict(dataset.settings)
        if is_given(dataset.name) and settings["digest"] in self._given:
            splits = _moved(self._given[settings.pop("digest")], **settings)
        else:
            with reading_as(self._reading()):
                splits = DATASETS.build(dataset.name, settings)
        with self._naming(dataset):
            check_splits(splits)
            if isinstance(dataset, DataChoice) and dataset.guard:
                # of the split's seed alone, so that trials of one split have one guard
                splits = set_aside(splits, dataset.guard, seed_for(dataset.settings.get("split_seed", 0), "guard"))
        return splits

    @plain_torch()
    def network(
        self, model: Choice, num_classes: int, input_shape: tuple[int, int, int], fresh: bool = False
    ) -> nn.Module:
        """A network with initial weights from torch's global generator, or pretrained where its settings say so.

        ``fresh`` skips pretrained weights, for a network that is only inspected or gets other weights. Raises
        :class:`InputError` for a model that cannot be built.
        """
        settings = model.settings
        if fresh and "pretrained" in settings and ":" not in model.name:
            settings = {**settings, "pretrained": "none"}
        try:
            if is_given(model.name) and settings["digest"] in self.networks:
                made = copy.deepcopy(self.networks[settings["digest"]])
            else:
                made = MODELS.build(model.name, settings, num_classes=num_classes, input_shape=input_shape)
            network: nn.Module = _bare(model, made)
        except ValueError as error:
            raise InputError(f"model {model.name}: {error}") from None
        precision = getattr(model, "precision", None)
        filled = _fill_lazy(network, input_shape)
        return filled if precision is None else filled.to(getattr(torch, precision))


@contextlib.contextmanager
def using(inputs: Inputs | None) -> Iterator[Inputs]:
    """``inputs``, which their owner closes; if ``None``, new ones that are closed after the block."""
    if inputs is not None:
        yield inputs
        return
    with Inputs() as own:
        yield own


def _moved(splits: Splits, shift: int = 0, flip: bool = False) -> Splits:
    """Given data whose training images are shifted and flipped anew in every step."""
    return replace(splits, augment=shift_and_flip(shift, flip)) if shift or flip else splits


def _fill_lazy(network: nn.Module, input_shape: tuple[int, int, int]) -> nn.Module:
    """``network`` after its lazy layers got sizes and weights, drawn from torch's global generator like all others."""
    if any(map(is_lazy, (*network.parameters(), *network.buffers()))):
        was_training = network.training
        dtype = next(network.parameters()).dtype
        try:
            with torch.no_grad():
                network.eval()(torch.zeros(2, *input_shape, dtype=dtype))
        except Exception as error:  # a user's forward may raise anything for such images
            first = first_line(error)
            raise InputError(f"the network cannot take images of {tuple(input_shape)}: {first}") from error
        network.train(was_training)
    return network


def _bare(model: Choice, made: Any) -> nn.Module:
    """The network that a model's function built, without its wrappers, on the CPU."""
    try:
        return on_cpu(bare(made))
    except InputError as error:
        raise InputError(f"model {model.name}: {error}") from None
