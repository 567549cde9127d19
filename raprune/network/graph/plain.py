"""Whether a module does only what its class says, and whether a node may write into what it reads."""

from __future__ import annotations

import operator
from typing import Any

from torch import fx, nn
from torch.nn.modules import module as torch_module

WRITERS: tuple[Any, ...] = (
    operator.setitem, operator.delitem, operator.iadd, operator.isub, operator.imul, operator.imatmul,
    operator.itruediv, operator.ifloordiv, operator.imod, operator.ipow, operator.iand, operator.ior, operator.ixor,
    operator.ilshift, operator.irshift, operator.iconcat,
)  # fmt: skip
TORCH_MODULES = "torch.nn.modules."
"""Where torch's own modules are defined."""
NO_USERS = ("torch.nn.", "torch.fx.", "torchvision.", "timm.", "raprune.")
"""Where modules are defined that keep no state but their tensors."""
KNOWN_FUNCTIONS = {"torch", "_operator", "builtins", "math", "raprune"}
"""Packages whose functions do not change their arguments unless their name or ``inplace`` says so."""
NEW_RESULT = (
    nn.modules.conv._ConvNd, nn.Linear, nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.ReLU, nn.ReLU6,
    nn.LeakyReLU, nn.PReLU, nn.SiLU, nn.GELU, nn.Sigmoid, nn.Hardswish, nn.Hardsigmoid, nn.MaxPool2d, nn.AvgPool2d,
)  # fmt: skip
"""Modules of these types never return a view of what they read."""
NEW_FUNCTIONS = {
    "add", "sub", "mul", "truediv", "div", "neg", "relu", "sigmoid", "tanh", "silu", "gelu", "conv2d", "linear", "cat",
    "batch_norm", "max_pool2d", "avg_pool2d", "mean", "sum", "softmax", "exp", "sqrt", "pow", "clamp", "interpolate",
}  # fmt: skip
"""Functions and methods with these names never return a view of what they read."""


class Ours:
    """Marks the modules that raprune puts into networks.

    They never write into what they read, and their only hidden tensor is the index that
    :func:`raprune.network.graph.lay_out` sets.
    """


def is_ours(module: nn.Module) -> bool:
    """Whether the class of ``module`` is itself marked as :class:`Ours`; a user's subclass counts as the user's."""
    return Ours in type(module).__bases__


def is_altered(module: nn.Module) -> bool:
    """Whether calling ``module`` runs more than the ``forward`` of its class: hooks, or methods set on the instance.

    Hooks on the backward pass do not count; hooks that torch runs for all modules of the process do.
    """
    hooks = (
        module._forward_hooks, module._forward_pre_hooks,
        torch_module._global_forward_hooks, torch_module._global_forward_pre_hooks,
    )  # fmt: skip
    own = (name for name, value in vars(module).items() if value is not None and hasattr(type(module), name))
    return any(hooks) or any(callable(getattr(type(module), name)) or name == "_compiled_call_impl" for name in own)


def is_plain(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether ``module`` is exactly a ``kind``, not a subclass, and the instance is unaltered."""
    return type(module) is kind and not is_altered(module)


def does_the_same(network: nn.Module) -> bool:
    """Whether no user's code runs when ``network`` trains, which may do something else each time."""
    watched = any(one._backward_hooks or one._post_accumulate_grad_hooks for one in network.parameters())
    return not watched and all(map(_does_the_same, network.modules()))


def _does_the_same(module: nn.Module) -> bool:
    """The same for a module, its children aside."""
    if not type(module).__module__.startswith(NO_USERS) or is_altered(module):
        return False
    if module._backward_hooks or module._backward_pre_hooks:
        return False
    if isinstance(module, fx.GraphModule):
        return all(_is_known(node.target) for node in module.graph.nodes if node.op == "call_function")
    return _is_known(getattr(module, "function", len))  # that of :class:`ByMode`


def may_write(root: nn.Module, node: fx.Node) -> bool:
    """Whether a node may change its inputs in place: it does, or its effect is unknown."""
    if node.op == "call_module":
        return not all(map(_leaves_inputs, root.get_submodule(str(node.target)).modules()))
    if node.op == "call_method":
        name = str(node.target)
        return (name.endswith("_") and not name.endswith("__")) or name in ("__setitem__", "__delitem__")
    if node.op == "call_function":
        return node.target in WRITERS or "out" in node.kwargs or not _is_known_function(node)
    return False


def written_inputs(root: nn.Module, graph: fx.Graph) -> set[str]:
    """Placeholders of ``graph`` that may be changed in place when it runs, directly or through a view of them."""
    return {node.name for node in graph.nodes if node.op == "placeholder" and _reaches_writer(root, node)}


def _reaches_writer(root: nn.Module, value: fx.Node) -> bool:
    """Whether anything that shares memory with ``value`` may be written into."""
    pending, seen = [value], {value}
    while pending:
        for user in pending.pop().users:
            if may_write(root, user):
                return True
            if user not in seen and not _gives_new(root, user):
                seen.add(user)
                pending.append(user)
    return False


def _gives_new(root: nn.Module, node: fx.Node) -> bool:
    if node.op == "call_module":
        return isinstance(root.get_submodule(str(node.target)), NEW_RESULT)
    return _name(node) in NEW_FUNCTIONS


def _leaves_inputs(module: nn.Module) -> bool:
    """Whether a module, its children aside, is one of torch's or ours that does not change its inputs."""
    known = is_ours(module) or type(module).__module__.startswith(TORCH_MODULES)
    return known and not is_altered(module) and not getattr(module, "inplace", False)


def _is_known_function(node: fx.Node) -> bool:
    return _is_known(node.target) and not node.kwargs.get("inplace") and not _name(node).endswith("_")


def _is_known(function: Any) -> bool:
    """Whether a function comes from a package of :data:`KNOWN_FUNCTIONS`."""
    owner = getattr(function, "__objclass__", None) or getattr(function, "__self__", None)
    own = getattr(function, "__module__", None), getattr(owner, "__module__", None), getattr(owner, "__name__", None)
    return any(str(place).split(".")[0] in KNOWN_FUNCTIONS for place in own)


def _name(node: fx.Node) -> str:
    return node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
