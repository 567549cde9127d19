"""What a network must satisfy before it is traced; a violation is refused by name."""

from __future__ import annotations

import keyword
import unicodedata
from typing import Any

import torch
from torch import fx, nn
from torch.nn.parameter import is_lazy
from torch.optim.swa_utils import AveragedModel

from raprune.errors import InputError
from raprune.network.graph.module import Network

TYPES = (torch.float32, torch.float64)
SHOWN = 8
"""How many names an error lists."""


def bare(model: Any) -> nn.Module:
    """``model`` without the wrappers of torch.compile, weight averaging and data parallelism.

    Raises :class:`InputError` for anything but a network of Python code.
    """
    while True:
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel | AveragedModel):
            model = model.module
        elif isinstance(model, nn.Module) and isinstance(getattr(model, "_orig_mod", None), nn.Module):
            model = model._orig_mod
        else:
            break
    if isinstance(model, torch.jit.ScriptModule):
        raise InputError("a scripted network cannot be traced; pass the nn.Module from which it was scripted")
    if not isinstance(model, nn.Module):
        raise InputError(f"must be a torch.nn.Module; got {type(model).__name__}")
    return model


def on_cpu(network: nn.Module) -> nn.Module:
    """``network`` moved to the CPU, in place; tensors without values stay where they are."""
    if any(
        not tensor.is_meta and tensor.device.type != "cpu" for tensor in (*network.parameters(), *network.buffers())
    ):
        network.cpu()
    return network


def check_network(network: nn.Module) -> None:
    """Raise :class:`InputError` for a network that could not be traced or pruned whatever its forward does."""
    if next(network.parameters(), None) is None:
        raise InputError("the network has no parameters")
    check_values(network)
    _check_weights(network)
    _check_calls(network)
    _check_names(network)


def check_values(network: nn.Module) -> None:
    """Raise :class:`InputError` for tensors without values, and for half precision."""
    tensors = [*network.named_parameters(), *network.named_buffers()]
    if lazy := [name for name, tensor in tensors if is_lazy(tensor)]:
        raise InputError(f"{_listed(lazy)}: a lazy layer without a size; run the network once on an image")
    if meta := [name for name, tensor in tensors if tensor.is_meta]:
        raise InputError(f"{_listed(meta)}: on the meta device, without values; build the network on the CPU")
    wrong = {str(t.dtype) for _, t in tensors if t.is_floating_point() and t.dtype not in TYPES}
    if wrong or not any(tensor.is_floating_point() for tensor in network.parameters()):
        raise InputError(f"must be float32 or float64, use model.float(); got {', '.join(sorted(wrong)) or 'integers'}")


def _check_weights(network: nn.Module) -> None:
    """Refuse weights that modules share, that are computed from others, or that have hooks."""
    seen: dict[int, str] = {}
    for name, parameter in network.named_parameters(remove_duplicate=False):
        if "parametrizations" in name:
            raise InputError(f"{name}: parametrised weights cannot be pruned; remove the parametrisation first")
        owner, _, _ = name.rpartition(".")
        module = network.get_submodule(owner)
        if id(parameter) in seen and id(module) != id(network.get_submodule(seen[id(parameter)].rpartition(".")[0])):
            raise InputError(f"{name} and {seen[id(parameter)]} are one tensor; shared weights cannot be pruned")
        seen[id(parameter)] = name
        if getattr(module, "weight_g", None) is not None or hasattr(module, "weight_orig"):
            raise InputError(f"{owner}: its weight is computed by a hook (weight or spectral norm); remove the hook")
    check_hooks(network)


def check_hooks(network: nn.Module) -> None:
    """Raise :class:`InputError` for hooks that a copy would lose: on parameters, and on the whole backward pass."""
    hooked = [
        name for name, parameter in network.named_parameters()
        if parameter._backward_hooks or getattr(parameter, "_post_accumulate_grad_hooks", None)
    ]  # fmt: skip
    if hooked:
        raise InputError(f"{_listed(hooked)}: hooks of a parameter are lost when filters are removed; remove them")
    if network._backward_hooks or network._backward_pre_hooks:
        raise InputError("backward hooks of the whole network cannot be traced; remove them")


def _check_calls(network: nn.Module) -> None:
    """Refuse layers that override ``__call__``."""
    for name, module in network.named_modules():
        owners = [cls for cls in type(module).__mro__ if "__call__" in vars(cls) and cls is not nn.Module]
        if owners and not isinstance(module, fx.GraphModule) and isinstance(module, _CALLED_AS_THEY_ARE):
            raise InputError(f"{name}: {owners[0].__name__} has a __call__ of its own; move it into forward")


_CALLED_AS_THEY_ARE = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.modules.batchnorm._NormBase)


def _check_names(network: nn.Module) -> None:
    """Refuse names that a graph module cannot hold."""
    taken = set(dir(Network(nn.Module(), fx.Graph())))
    wrong = []
    for name in [*dict(network.named_modules()), *dict(network.named_parameters()), *dict(network.named_buffers())]:
        owner, _, last = name.rpartition(".")
        if name and not _can_be_written(last):
            wrong.append(f"{name}: Python code cannot use this name")
        elif not owner and last in taken and not hasattr(nn.Module, last):
            wrong.append(f"{name}: torch.fx has an attribute {last!r} of its own")
    if wrong:
        more = [f"and {len(wrong) - SHOWN} more"] if len(wrong) > SHOWN else []
        listed = "\n  ".join([*wrong[:SHOWN], *more])
        raise InputError(f"names that a traced network cannot have; rename these modules:\n  {listed}")


def _can_be_written(part: str) -> bool:
    if part.isidentifier():
        return not keyword.iskeyword(part) and unicodedata.normalize("NFKC", part) == part
    return part.isprintable() and not set(part) & set('"\\{}')


def _listed(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
