"""A copy of a program's own network: the object that was passed in is never changed."""

from __future__ import annotations

import copy

from torch import nn

from raprune.errors import InputError
from raprune.network.graph.ambient import plain_torch
from raprune.network.graph.checks import bare, check_hooks, check_values


@plain_torch()
def own_copy(model: nn.Module) -> nn.Module:
    """``model`` on the CPU in eval mode, taken out of its wrappers, sharing nothing with it.

    A network without any trainable parameter is trained whole. Raises :class:`InputError` for what cannot be pruned.
    """
    try:
        own = bare(model)
        check_values(own)
        check_hooks(own)
    except InputError as error:
        raise InputError(f"model: {error}") from None
    try:
        network = copy.deepcopy(own).cpu().eval()
    except Exception as error:  # whatever the parts of a user's network raise
        raise InputError(f"model: cannot be copied: {type(error).__name__}: {error}") from error
    if not any(parameter.requires_grad for parameter in network.parameters()):
        network.requires_grad_(True)
    return network
