"""Records one run of a network on example images as a ``torch.fx`` graph.

Sizes have their values for the example images and stay tied to the tensors they belong to. A module whose forward
cannot be recorded becomes one opaque operation, and the reason is kept.
"""

from __future__ import annotations

import contextlib
import inspect
import operator
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.overrides import is_tensor_method_or_property

from raprune.network.graph.align import Align
from raprune.network.graph.modes import DROPS, MADE_IN, ByMode, WideDropout
from raprune.network.graph.places import here, said_of
from raprune.network.graph.sameness import undisturbed
from raprune.network.graph.shapes import Shape, Size
from raprune.network.graph.values import CONSTANTS, GRADIENTS, Held, Untraceable, Value, known, leaves, rebuilt
from raprune.network.graph.walk import NORMS
from raprune.network.graph.watching import Calls, functions_of_autograd

LEAVES = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, *NORMS, Align, WideDropout, ByMode)
"""Never entered, even if a library extended them: each has a rule."""
SHAPES = frozenset((
    "size", "shape", "dim", "ndim", "ndimension", "numel", "nelement", "stride", "storage_offset", "element_size",
    "is_floating_point", "is_complex", "is_contiguous", "is_same_size", "get_device", "type",
    "is_tensor", "result_type", "can_cast", "promote_types", "broadcast_shapes", "is_signed", "is_inference",
    "has_names", "is_conj", "is_neg", "_is_view",
))  # fmt: skip
"""Properties and methods of a tensor that do not depend on its values."""
CHANGES = frozenset((
    "__setitem__", "__set__", "__iadd__", "__isub__", "__imul__", "__itruediv__", "iadd", "isub", "imul", "itruediv",
))  # fmt: skip
"""Operations that change a tensor, beside all whose name ends in an underscore."""
_TRACING = threading.Lock()
"""torch.fx changes classes while it traces."""


class Recorder(fx.Tracer):
    """Traces one network; adds the modules that cannot be traced, with the reasons, to ``left``."""

    def __init__(self, opaque: frozenset[str], left: dict[str, str]) -> None:
        super().__init__()
        self.opaque = opaque
        self.left = left
        self.traced_func_name = "__call__"
        self._thread = threading.get_ident()
        self.running = False

    def record_run(self, network: nn.Module, images: Tensor, choose: Callable[[Any], Any]) -> fx.Graph:
        """The graph from ``images`` to what ``choose`` takes of the network's output."""
        self._images, self._choose = images, choose
        self._values: dict[int, list[weakref.ref[Value]]] = {}
        self._made_in: dict[int, str] = {}
        tensors = [*network.named_parameters(), *network.named_buffers()]
        self._state = {tensor.untyped_storage().data_ptr(): name for name, tensor in tensors}
        with _TRACING, functions_of_autograd(self), Calls(self), torch.enable_grad():
            graph = self.trace(network)
        graph._tracer_cls = fx.Tracer  # for unpickling the network
        return graph

    def create_args_for_root(self, root_fn: Any, is_module: bool, concrete_args: Any = None) -> tuple[Any, list[Any]]:
        """Overrides fx: the images are the only input, and the root is called like any module."""
        names = [name for name in _parameters(self.root) if name.isidentifier()]
        images = self.create_proxy("placeholder", names[0] if names else "images", (), {})
        return lambda given: self._choose(self.root(given)), [images]

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Overrides fx: layers with a rule and modules left whole are leaves, too."""
        whole = module_qualified_name in self.opaque or module_qualified_name in self.left
        return whole or isinstance(m, LEAVES) or type(m).__name__ in DROPS or super().is_leaf_module(m, "")

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        """Overrides fx: a module that cannot be traced is noted and called as a whole."""
        if self.is_elsewhere():
            return forward(*args, **kwargs)
        if isinstance(original := getattr(m, "_orig_mod", None), nn.Module):  # wrapped by torch.compile
            return original(*args, **kwargs)
        if m not in (self.submodule_paths or {}) and not m._parameters and not m._buffers:
            return forward(*args, **kwargs)  # made in a forward, such as self.body[1:]
        name = self.path_of_module(m)
        if isinstance(m, torch.jit.ScriptModule):
            self.left.setdefault(name, "it is scripted")
        if self.is_leaf_module(m, name):
            return super().call_module(m, forward, args, kwargs)
        depth, buffers = len(self.module_stack), dict(m._buffers)
        try:
            if m._backward_hooks or m._backward_pre_hooks:
                raise Untraceable("it has backward hooks")
            result = super().call_module(m, forward, args, kwargs)
            self._check_made(m, name, buffers, result)
            return result
        except Exception as error:  # whatever a user's forward raises while it is recorded
            if name == "":
                raise
            m._buffers.update(buffers)
            while len(self.module_stack) > depth:
                self.module_stack.popitem(last=True)
            self.left[name] = f"{type(m).__name__}: {said_of(error)}"
            with undisturbed(m, [""]):
                return super().call_module(m, forward, args, kwargs)

    def _check_made(self, module: nn.Module, name: str, buffers: dict[str, Any], made: Any) -> None:
        """Refuse a forward that replaced a buffer; note tensors that it made independently of recorded values."""
        if changed := [key for key, buffer in module._buffers.items() if buffer is not buffers.get(key)]:
            raise Untraceable(f"its forward changes {', '.join(changed)}")
        for part in leaves(made):
            if isinstance(part, Tensor) and not isinstance(part, Value):
                self._made_in.setdefault(id(part), name)

    def path_of_module(self, mod: nn.Module) -> str:
        """Overrides fx: the module's name; refuses a module that is not the network's."""
        name = None if self.submodule_paths is None else self.submodule_paths.get(mod)
        if name is None:
            raise Untraceable(f"it calls a {type(mod).__name__} that is not one of the network's modules")
        return name

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: Any) -> Any:
        """Overrides fx: parameters that a forward reads."""
        if self.is_elsewhere():
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def create_arg(self, a: Any) -> Any:
        """Overrides fx: what represents a value as an argument of a node."""
        if isinstance(a, Value) and not a.is_current():
            raise Untraceable("it changes a tensor in place and then uses it under another name")
        if isinstance(a, Value | Held | Size | Shape):
            return a.node
        argument: Any = super().create_arg(a)
        if isinstance(a, Tensor) and id(a) in self._made_in:
            argument.meta[MADE_IN] = self._made_in[id(a)]
        return argument

    def create_proxy(
        self,
        kind: str,
        target: Any,
        args: Any,
        kwargs: Any,
        name: str | None = None,
        type_expr: Any = None,
        proxy_factory_fn: Any = None,
    ) -> Any:
        """Overrides fx: records an operation and returns its result."""
        if any(torch.is_autocast_enabled(device) for device in ("cpu", "cuda")):
            raise Untraceable("it runs under torch.autocast")
        self.check_state_alone(target, args)
        node = self.create_node(kind, target, self.create_arg(args), self.create_arg(kwargs), name, None)
        node.stack_trace = here()
        if node.name == "self":  # the generated code uses this name for the module
            node._rename("self_1")
        gradients = torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
        with self._plainly():
            value = self._run(kind, target, args, kwargs)
        self._follow_changes(value, node, (args, kwargs))
        if isinstance(value, Tensor) and kind not in ("placeholder", "get_attr"):
            node.meta[GRADIENTS] = gradients
        return self._answer(value, node, (args, kwargs))

    def record(self, kind: str, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Record an operation under its own name."""
        return self.create_proxy(kind, target, args, kwargs)

    def recorded_call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Record a torch function, or a method or attribute of a tensor, called with recorded values."""
        name = getattr(function, "__name__", type(function).__name__)
        if self.running:
            raise Untraceable(f"it hides a tensor from {name} in an object of its own")
        if name == "__get__":
            return args[0].attribute(function.__self__.__name__)
        if name in ("__set__", "__delete__") or isinstance(function, torch._C.ScriptMethod):
            raise Untraceable(f"it calls .{name} of a tensor")
        if is_tensor_method_or_property(function):
            return self.create_proxy("call_method", name, args, kwargs)
        return self.create_proxy("call_function", function, args, kwargs, self.graph._target_to_str(name))

    def _run(self, kind: str, target: Any, args: Any, kwargs: Any) -> Any:
        args, kwargs = known(args), known(kwargs)
        if kind == "placeholder":
            return self._images
        if kind == "get_attr":
            return operator.attrgetter(target)(self.root)
        if kind == "call_method":
            return getattr(args[0], target)(*args[1:], **kwargs)
        return (self.root.get_submodule(target) if kind == "call_module" else target)(*args, **kwargs)

    def _answer(self, value: Any, node: fx.Node, given: Any) -> Any:
        """``value``, the result of ``node``, in the form that the forward sees."""
        if isinstance(value, Tensor):
            made = Value.of(value, node, self)
            self._values.setdefault(id(value), []).append(weakref.ref(made))
            return made
        if isinstance(value, list | tuple | dict) and not isinstance(value, torch.Size):
            held = Held(value, node, self)
            parts = rebuilt(value, lambda key, _: self.record("call_function", operator.getitem, (held, key), {}))
            return held if parts is value else parts
        if value is None:
            return None
        if node.op == "call_module" or any(isinstance(part, Held) for part in leaves(given)):
            return Held(value, node, self)
        self._check_shapes_alone(node, given)
        if isinstance(value, torch.Size):
            return Shape(value, node, self)
        if isinstance(value, CONSTANTS):
            return value
        return Size(value, node, self) if type(value) is int else Held(value, node, self)

    def _follow_changes(self, value: Any, node: fx.Node, given: Any) -> None:
        """Rebind what ``node`` changed in place to its result; a module may change what it reads while it runs."""
        for part in leaves(given):
            if isinstance(part, Value) and not part.is_current():
                if value is not part.value and node.op != "call_module":
                    raise Untraceable("it changes a tensor in place and returns another")
                for other in self._values.get(id(part.value), []):
                    alias = other()
                    if alias is not None and alias.value is part.value:
                        alias.rebind(node if value is part.value else alias.node)

    def _check_shapes_alone(self, node: fx.Node, given: Any) -> None:
        """Refuse numbers that depend on the values of tensors."""
        name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
        if name == "getattr":
            name = str(node.args[1])
        if name not in SHAPES and any(isinstance(part, Value) for part in leaves(given)):
            raise Untraceable(f"it takes a value out of a tensor ({name})")

    def check_state_alone(self, target: Any, args: Any) -> None:
        """Refuse in-place changes of parameters and buffers."""
        name = target if isinstance(target, str) else getattr(target, "__name__", "")
        changed = known(args[0]) if args and (name in CHANGES or (name.endswith("_") and name[-2:] != "__")) else None
        if isinstance(changed, Tensor) and changed.untyped_storage().data_ptr() in self._state:
            raise Untraceable(f"its forward changes {self._state[changed.untyped_storage().data_ptr()]} in place")

    def is_elsewhere(self) -> bool:
        """Whether the current run must not be recorded: it is inside a leaf, or in another thread."""
        return self.running or threading.get_ident() != self._thread

    @contextlib.contextmanager
    def _plainly(self) -> Iterator[None]:
        before, self.running = self.running, True
        try:
            with torch.no_grad():
                yield
        finally:
            self.running = before


def _parameters(network: nn.Module) -> list[str]:
    try:
        return list(inspect.signature(network.forward).parameters)
    except (TypeError, ValueError):
        return []
