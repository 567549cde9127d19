"""A traced network in eval mode as one function over fused convolutions; each call may exchange its modules.

For a candidate, only the parts that its mask changes are built: the function is generated once, and each call names the
modules and tensors that replace the network's own.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from raprune.engine.kernels.convolutions import FusedConv, can_fold, can_fuse, fuse
from raprune.network.graph.plain import is_plain

RELUS: tuple[Any, ...] = (F.relu, F.relu_, torch.relu, torch.relu_)
PURE: dict[Any, Any] = {
    operator.iadd: operator.add,
    operator.imul: operator.mul,
    F.relu_: F.relu,
    torch.relu_: torch.relu,
}
"""In-place function -> its counterpart with a new result: values kept for other candidates must not change."""


@dataclass(frozen=True)
class Fused:
    """Where a fused convolution comes from: names of modules in the network."""

    conv: str
    norm: str | None
    relu: bool


@dataclass
class Program:
    """``program(*values)`` is the module's forward; :meth:`exchanged` is the same with some parts exchanged."""

    forward: Callable[..., Any]
    parts: dict[str, Any]
    """Name in the generated code -> module, fused convolution or tensor."""
    fused: dict[str, Fused]
    """The fused convolutions among ``parts``."""
    modules: dict[str, str]
    """The other modules and tensors among ``parts``, with their names in the network."""
    graph: fx.Graph
    """The graph that ``forward`` was generated from; its modules are names of ``parts``."""
    names: dict[str, str]
    """Node of ``graph`` -> node of the module whose value it has."""
    _own: SimpleNamespace = field(init=False)

    def __post_init__(self) -> None:
        self._own = SimpleNamespace(**self.parts)

    def __call__(self, *values: Any) -> Any:
        return self.forward(self._own, *values)

    def exchanged(self, others: Mapping[str, Any]) -> Callable[..., Any]:
        """The program with ``others`` in place of its own parts of the same names."""
        names = SimpleNamespace(**{**self.parts, **others})
        return lambda *values: self.forward(names, *values)


def compile_module(
    module: fx.GraphModule, convs: dict[str, FusedConv] | None = None, part: fx.Graph | None = None
) -> Program:
    """Compile ``module``, which must be in eval mode; ``convs`` keeps fused convolutions for other programs.

    ``part``: another graph of its modules, compiled instead of its own.
    """
    convs = {} if convs is None else convs
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    parts: dict[str, Any] = {}
    fused: dict[str, Fused] = {}
    modules: dict[str, str] = {}
    names: dict[str, str] = {}
    for node in (part or module.graph).nodes:
        if node in copies:
            continue
        name = f"part_{node.name}"
        if node.op == "call_module" and can_fuse(module.get_submodule(str(node.target))):
            chain = _chain(module, node)
            fused[name] = _describe(module, chain)
            if node.name not in convs:
                convs[node.name] = _fuse(module, fused[name])
            parts[name] = convs[node.name]
            copy = graph.call_module(name, (copies[node.all_input_nodes[0]],))
            copies |= dict.fromkeys(chain, copy)
            names[copy.name] = chain[-1].name
            continue
        copies[node] = copy = graph.node_copy(node, copies.__getitem__)
        names[copy.name] = node.name
        if node.op == "call_function":
            copy.target = PURE.get(node.target, node.target)
        if node.op in ("call_module", "get_attr"):
            modules[name], copy.target = str(node.target), name
            called = operator.attrgetter(str(node.target))(module)
            parts[name] = F.relu if _is_relu(module, node) else called
    code = graph.python_code("self")
    namespace = dict(code.globals)
    exec(compile(code.src, "<raprune program>", "exec"), namespace)
    return Program(namespace["forward"], parts, fused, modules, graph, names)


def _chain(module: fx.GraphModule, conv: fx.Node) -> list[fx.Node]:
    """A convolution with the norm and the ReLU that follow it, as long as each is the only reader."""
    chain = [conv]
    following = _only_user(conv)
    if following is not None and following.op == "call_module" and can_fold(_called(module, following)):
        chain.append(following)
        following = _only_user(following)
    if following is not None and _is_relu(module, following):
        chain.append(following)
    return chain


def _describe(module: fx.GraphModule, chain: list[fx.Node]) -> Fused:
    norms = [str(n.target) for n in chain[1:] if n.op == "call_module" and can_fold(_called(module, n))]
    return Fused(str(chain[0].target), norms[0] if norms else None, _is_relu(module, chain[-1]))


def _fuse(module: fx.GraphModule, fused: Fused) -> FusedConv:
    conv, norm = module.get_submodule(fused.conv), None if fused.norm is None else module.get_submodule(fused.norm)
    assert isinstance(conv, nn.Conv2d)
    assert norm is None or isinstance(norm, nn.BatchNorm2d)
    return fuse(conv, norm, fused.relu)


def _only_user(node: fx.Node) -> fx.Node | None:
    users = list(node.users)
    return users[0] if len(users) == 1 and users[0].all_input_nodes == [node] else None


def _is_relu(module: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_module":
        return is_plain(_called(module, node), nn.ReLU)
    if node.op == "call_method":
        return node.target in ("relu", "relu_")
    return node.op == "call_function" and node.target in RELUS


def _called(module: fx.GraphModule, node: fx.Node) -> nn.Module:
    return module.get_submodule(str(node.target))


def is_tensor(value: Any) -> Tensor:
    """``value``, asserted to be a tensor."""
    assert isinstance(value, Tensor)
    return value
