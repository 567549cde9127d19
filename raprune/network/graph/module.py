"""The traced network: a graph module that trains like the network it was traced from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import fx, nn

EXTRA = "_extra_state"
"""Suffix of state-dict entries that need not be tensors."""


class Network(fx.GraphModule):
    """``fx.GraphModule`` that keeps some modules in eval mode, and whose state dict holds only parameters and buffers.

    What ``get_extra_state`` returns stays in the modules, which are copied with it.
    """

    _held_in_eval: frozenset[str] = frozenset()
    """Modules that are in eval mode when the network trains."""

    def train(self, mode: bool = True) -> Network:
        """As for any module; modules held in eval mode stay in it."""
        super().train(mode)
        for name, module in self.named_modules():
            if name in self._held_in_eval:
                module.training = False
        return self

    def put(self, name: str, module: nn.Module, instead: str) -> None:
        """Add ``module``, which replaces ``instead`` and is held in eval mode if that was."""
        self.add_submodule(name, module)
        if instead in self._held_in_eval:
            self._held_in_eval |= {name}

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Parameters and buffers by name."""
        entries = super().state_dict(*args, **kwargs)
        for name in [name for name in entries if name.endswith(EXTRA)]:
            del entries[name]
        return entries

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As for any module; extra state stays as it is."""
        extra = {name: value for name, value in super().state_dict().items() if name.endswith(EXTRA)}
        tensors = {name: value for name, value in state_dict.items() if not name.endswith(EXTRA)}
        return super().load_state_dict({**tensors, **extra}, strict=strict, assign=assign)

    def __deepcopy__(self, memo: Any) -> Network:
        made = super().__deepcopy__(memo)
        assert isinstance(made, Network)
        made._held_in_eval = self._held_in_eval
        return made

    def __reduce__(self) -> Any:
        return _rebuilt, (*super().__reduce__(), self._held_in_eval)


def _rebuilt(make: Any, args: tuple[Any, ...], held: frozenset[str]) -> Network:
    """A network from its pickled form."""
    plain = make(*args)
    network = Network(plain, plain.graph)
    network.training = plain.training
    network._held_in_eval = held
    return network


def part_of(network: fx.GraphModule, graph: fx.Graph) -> fx.GraphModule:
    """The part of ``network`` that ``graph`` describes, with its modules and their training modes."""
    part = Network(network, graph)
    part._held_in_eval = held_in_eval(network)
    return part


def held_in_eval(network: nn.Module) -> frozenset[str]:
    """Modules of ``network`` that stay in eval mode when it trains."""
    return network._held_in_eval if isinstance(network, Network) else frozenset()


def fresh_name(network: nn.Module, wanted: str) -> str:
    """``wanted``, with a number appended if the network already has an attribute of that name."""
    name, number = wanted, 1
    while hasattr(network, name):
        name, number = f"{wanted}_{number}", number + 1
    return name
