"""A network and data of a program's own, which stand in a study under the digest of their content.

They are in memory alone: a study file that names them runs only where the program gave them. Shapes as in
:mod:`raprune.plugins.datasets.base`.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor, fx, nn

from raprune.engine.workload import forget_data
from raprune.identity import Fingerprint, of_training, of_value
from raprune.identity.code import own_modules
from raprune.identity.values import HOOKS, OF_MODULES
from raprune.network.graph import Traced
from raprune.plugins.datasets import contents
from raprune.plugins.datasets.base import Splits, shift_and_flip
from raprune.registry import DATASETS, MODELS, give, take_back

DIGEST_BYTES = 8
KNOWN = ("torch.", "raprune.")
"""Where layers are from that are known by their names."""
_NETWORKS: dict[str, nn.Module] = {}
"""Digest -> network, of those given in this process."""
_HOLDERS: Counter[str] = Counter()
"""Digest -> how many blocks have given it and not ended."""


def digest_of_network(traced: Traced) -> str:
    """Of a network's forward, the settings and hooks of its modules, the user's own code in it, and its weights."""
    blake = hashlib.blake2b(digest_size=DIGEST_BYTES)
    blake.update(re.sub(r"0x[0-9a-f]+", "", f"{traced.network.code}{traced.network}").encode())
    for name, tensor in traced.network.state_dict().items():
        if not isinstance(tensor, Tensor):
            continue  # extra state, which is added below
        blake.update(f"\0{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        blake.update(_bytes(tensor))
    for text in _unsaid(traced.network):
        blake.update(text.encode())
    return blake.hexdigest()


def _unsaid(network: fx.GraphModule) -> Iterator[str]:
    """Fingerprints of what neither a network's code nor the text of its modules says; of torch's own layers nothing."""
    is_own = own_modules()
    if trains := of_training(network):
        yield trains
    for node in network.graph.nodes:
        if node.op == "call_function" and is_own(str(getattr(node.target, "__module__", None) or "builtins")):
            yield of_value(node.target)
    for name, module in network.named_modules():
        if name and not _says_all(module):
            fingerprint = Fingerprint()
            fingerprint.say(name)
            fingerprint.settings(module)
            yield fingerprint.hexdigest()


def _says_all(module: nn.Module) -> bool:
    """Whether the text of a module tells its settings, and it has nothing besides."""
    kind = type(module)
    known = kind.__module__.startswith(KNOWN) and kind.get_extra_state is nn.Module.get_extra_state
    told = kind.extra_repr is not nn.Module.extra_repr or not set(vars(module)) - OF_MODULES - {"inplace"}
    return known and told and not any(getattr(module, hooks) for hooks in HOOKS)


def digest_of_data(splits: Splits) -> str:
    """Of the images and labels of all splits, in their order, and of the normalisation."""
    blake = hashlib.blake2b(contents.of_data(splits).encode(), digest_size=DIGEST_BYTES)
    if splits.test is not None:
        blake.update(contents.of_data(replace(splits, train=splits.test)).encode())
    return blake.hexdigest()


def _bytes(tensor: Tensor) -> Any:
    return np.ascontiguousarray(tensor.detach().cpu().numpy()).reshape(-1).view(np.uint8).data


def give_network(digest: str, network: nn.Module) -> None:
    """Let studies build copies of ``network`` in this process."""
    _NETWORKS[digest] = network

    def build(**context: Any) -> nn.Module:
        del context
        return copy.deepcopy(network)

    give(MODELS.kind, digest, build)


def give_data(digest: str, splits: Splits) -> None:
    """Let studies use ``splits`` in this process."""

    def load(shift: int = 0, flip: bool = False) -> Splits:
        return replace(splits, augment=shift_and_flip(shift, flip)) if shift or flip else splits

    give(DATASETS.kind, digest, load)


def networks() -> Mapping[str, nn.Module]:
    """The networks given in this process, by digest."""
    return _NETWORKS


@contextlib.contextmanager
def given_network(digest: str, network: nn.Module) -> Iterator[None]:
    """A network given inside the block, and taken back after it."""
    give_network(digest, network)
    _HOLDERS[digest] += 1
    try:
        yield
    finally:
        _let_go_of_network(digest)


def _let_go_of_network(digest: str) -> None:
    """Once nobody holds it: another thread may have given the same."""
    if _nobody_holds(digest):
        take_back(MODELS.kind, digest)
        _NETWORKS.pop(digest, None)


def _nobody_holds(digest: str) -> bool:
    _HOLDERS[digest] -= 1
    return _HOLDERS[digest] <= 0


@dataclass(frozen=True)
class Given:
    """A network and data, each with its digest; inside a ``with`` block studies find them."""

    network_digest: str
    data_digest: str
    network: nn.Module
    splits: Splits

    def __enter__(self) -> None:
        give_network(self.network_digest, self.network)
        give_data(self.data_digest, self.splits)
        _HOLDERS.update((self.network_digest, self.data_digest))

    def __exit__(self, *error: object) -> None:
        _let_go_of_network(self.network_digest)
        if _nobody_holds(self.data_digest):
            take_back(DATASETS.kind, self.data_digest)
            forget_data(self.data_digest)
