"""A program's own network and data, which a study names by the digest of their content.

They exist only in memory: a study file that names them runs only where the program gave them. Shapes as in
:mod:`raprune.plugins.datasets.base`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor, fx, nn

from raprune.identity import Fingerprint, of_training, of_value
from raprune.identity.code import own_modules
from raprune.identity.values import HOOKS, OF_MODULES
from raprune.network.graph import Traced
from raprune.plugins.datasets import contents
from raprune.plugins.datasets.base import Splits

DIGEST_BYTES = 8
KNOWN = ("torch.", "raprune.")
"""Prefixes of the modules whose layers are identified by name alone."""


def digest_of_network(traced: Traced) -> str:
    """Digest of a network's forward, its modules' settings and hooks, the user's own code in it, and its weights."""
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
    """Fingerprints of what neither a network's code nor the text of its modules shows; none for torch's own layers."""
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
    """Whether the text of a module shows all its settings, and it has neither hooks nor extra state."""
    kind = type(module)
    known = kind.__module__.startswith(KNOWN) and kind.get_extra_state is nn.Module.get_extra_state
    shown = kind.extra_repr is not nn.Module.extra_repr or not set(vars(module)) - OF_MODULES - {"inplace"}
    return known and shown and not any(getattr(module, hooks) for hooks in HOOKS)


def digest_of_data(splits: Splits) -> str:
    """Digest of the images and labels of all splits, in their order, and of the normalisation."""
    blake = hashlib.blake2b(contents.of_data(splits).encode(), digest_size=DIGEST_BYTES)
    if splits.test is not None:
        blake.update(contents.of_data(replace(splits, train=splits.test)).encode())
    return blake.hexdigest()


def _bytes(tensor: Tensor) -> Any:
    return np.ascontiguousarray(tensor.detach().cpu().numpy()).reshape(-1).view(np.uint8).data
