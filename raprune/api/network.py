"""A program's own network, copied: what is pruned is never the object that was given."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from raprune.errors import InputError

TYPES = (torch.float32, torch.float64)


def own_copy(model: nn.Module) -> nn.Module:
    """``model`` on the CPU in eval mode, taken out of its wrappers, sharing nothing with it.

    A network of which nothing is to be trained is trained whole. Raises :class:`InputError` for what cannot be pruned.
    """
    bare = _bare(model)
    if isinstance(bare, torch.jit.ScriptModule):
        raise InputError("model: a scripted network cannot be traced; give the nn.Module that it was made of")
    if not isinstance(bare, nn.Module):
        raise InputError(f"model: must be a torch.nn.Module; got {type(bare).__name__}")
    wrong = {t.dtype for t in bare.state_dict().values() if t.is_floating_point() and t.dtype not in TYPES}
    if wrong:
        raise InputError(f"model: must be float32 or float64, use model.float(); got {', '.join(map(str, wrong))}")
    try:
        network = copy.deepcopy(bare).cpu().eval()
    except Exception as error:  # whatever the parts of a user's network raise
        raise InputError(f"model: cannot be copied: {type(error).__name__}: {error}") from error
    if not any(parameter.requires_grad for parameter in network.parameters()):
        network.requires_grad_(True)
    return network


def _bare(model: Any) -> Any:
    """Without what torch.compile and the parallel wrappers lay around a network."""
    while True:
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            model = model.module
        elif isinstance(getattr(model, "_orig_mod", None), nn.Module):
            model = model._orig_mod
        else:
            return model
