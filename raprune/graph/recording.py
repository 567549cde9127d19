"""One run of a network on example images, written down as a ``torch.fx`` graph.

Sizes have the values that they have for the images, and stay tied to the tensors that they are of. A module whose
forward cannot be written down becomes one opaque operation, and why is noted.
"""

from __future__ import annotations

import contextlib
import inspect
import linecache
import operator
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode, is_tensor_method_or_property

from raprune.graph.align import Align
from raprune.graph.modes import DROPS, GRADIENTS, ByMode, WideDropout
from raprune.graph.sameness import undisturbed
from raprune.graph.values import CONSTANTS, Held, Shape, Size, Untraceable, Value, known, leaves, rebuilt
from raprune.graph.walk import NORMS

LEAVES = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, *NORMS, Align, WideDropout, ByMode)
"""Never looked into, whatever a library made of them: a rule speaks for each."""
SHAPES = frozenset((
    "size", "shape", "dim", "ndim", "ndimension", "numel", "nelement", "stride", "storage_offset", "element_size",
    "is_floating_point", "is_complex", "is_contiguous", "is_same_size", "get_device", "type",
    "is_tensor", "result_type", "can_cast", "promote_types", "broadcast_shapes", "is_signed", "is_inference",
    "has_names", "is_conj", "is_neg", "_is_view",
))  # fmt: skip
"""What is asked of a tensor and does not depend on its values."""
CHANGES = frozenset(("__setitem__", "__iadd__", "__isub__", "__imul__", "__itruediv__", "__set__"))
"""Methods that change a tensor, beside those that end in an underscore."""
_TRACING = threading.Lock()
"""torch.fx changes classes while it traces."""
LIBRARY = (*(str(Path(of).parent) for of in (torch.__file__, contextlib.__file__)), str(Path(__file__).parents[1]), "<")
"""How the files begin that are not the user's."""


class Recorder(fx.Tracer):
    """Traces one network; ``left`` gets the modules that cannot be looked into, with the reasons."""

    def __init__(self, opaque: frozenset[str], left: dict[str, str]) -> None:
        super().__init__()
        self.opaque = opaque
        self.left = left
        self.record_stack_traces = True
        self.traced_func_name = "__call__"
        self._thread = threading.get_ident()
        self._running = False

    def record_run(self, network: nn.Module, images: Tensor, choose: Callable[[Any], Any]) -> fx.Graph:
        """The graph from ``images`` to what ``choose`` takes of the network's output."""
        self._images, self._choose = images, choose
        tensors = [*network.named_parameters(), *network.named_buffers()]
        self._state = {tensor.untyped_storage().data_ptr(): name for name, tensor in tensors}
        with _TRACING, _functions_of_autograd(self), _Calls(self), torch.enable_grad():
            graph = self.trace(network)
        graph._tracer_cls = fx.Tracer  # by which a pickled network is read again
        return graph

    def create_args_for_root(self, root_fn: Any, is_module: bool, concrete_args: Any = None) -> tuple[Any, list[Any]]:
        """Of fx: the images alone are an input, and the root is called as any module is."""
        names = [name for name in _parameters(self.root) if name.isidentifier()]
        images = self.create_proxy("placeholder", names[0] if names else "images", (), {})
        return lambda given: self._choose(self.root(given)), [images]

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Also: layers with a rule, and what is left whole."""
        whole = module_qualified_name in self.opaque or module_qualified_name in self.left
        return whole or isinstance(m, LEAVES) or type(m).__name__ in DROPS or super().is_leaf_module(m, "")

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        """Of fx: a module that cannot be looked into is noted and called as it is."""
        if self._elsewhere():
            return forward(*args, **kwargs)
        name = self.path_of_module(m)
        if self.is_leaf_module(m, name):
            return super().call_module(m, forward, args, kwargs)
        depth, buffers = len(self.module_stack), dict(m._buffers)
        try:
            if m._backward_hooks or m._backward_pre_hooks:
                raise Untraceable("it has backward hooks")
            found = super().call_module(m, forward, args, kwargs)
            if changed := [key for key, buffer in m._buffers.items() if buffer is not buffers.get(key)]:
                raise Untraceable(f"its forward changes {', '.join(changed)}")
            return found
        except Exception as error:  # whatever a user's forward raises while it is recorded
            if name == "":
                raise
            m._buffers.update(buffers)
            while len(self.module_stack) > depth:
                self.module_stack.popitem(last=True)
            self.left[name] = f"{type(m).__name__}: {said_of(error)}"
            with undisturbed(m, [""]):
                return super().call_module(m, forward, args, kwargs)

    def path_of_module(self, mod: nn.Module) -> str:
        """Of fx: the module's name."""
        name = None if self.submodule_paths is None else self.submodule_paths.get(mod)
        if name is None:
            raise Untraceable(f"it calls a {type(mod).__name__} that is not one of the network's modules")
        return name

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: Any) -> Any:
        """Of fx: parameters that a forward reads."""
        if self._elsewhere():
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def create_arg(self, a: Any) -> Any:
        """Of fx: what stands for a value as an argument of a node."""
        if isinstance(a, Value | Held | Size | Shape):
            return a.node
        return super().create_arg(a)

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
        """Of fx: an operation, and what it gives."""
        if any(torch.is_autocast_enabled(device) for device in ("cpu", "cuda")):
            raise Untraceable("it runs under torch.autocast")
        self._check_state_alone(target, args)
        node = self.create_node(kind, target, self.create_arg(args), self.create_arg(kwargs), name, None)
        if node.name == "self":  # which generated code has for the module
            node._rename("self_1")
        gradients = torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
        with self._plainly():
            value = self._run(kind, target, args, kwargs)
        if isinstance(value, Tensor) and kind not in ("placeholder", "get_attr"):
            node.meta[GRADIENTS] = gradients
        return self._answer(value, node, (args, kwargs))

    def record(self, kind: str, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """An operation that is called by its own name."""
        return self.create_proxy(kind, target, args, kwargs)

    def recorded_call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A function of torch, or a method or attribute of a tensor, called with something that is recorded."""
        name = getattr(function, "__name__", type(function).__name__)
        if self._running:
            raise Untraceable(f"it hides a tensor from {name} in an object of its own")
        if name == "__get__":
            return args[0].attribute(function.__self__.__name__)
        if name in ("__set__", "__delete__") or isinstance(function, torch._C.ScriptMethod):
            raise Untraceable(f"it calls .{name} of a tensor")
        if is_tensor_method_or_property(function):
            return self.create_proxy("call_method", name, args, kwargs)
        return self.create_proxy("call_function", function, args, kwargs, self.graph._target_to_str(name))

    def _filter_traceback_frames(self, user_stack_summary: traceback.StackSummary) -> traceback.StackSummary:
        """Of fx: the user's own lines."""
        frames = [frame for frame in user_stack_summary if _is_users(frame)]
        return traceback.StackSummary.from_list(frames)

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
        """``value``, which ``node`` gives, as the forward sees it."""
        if isinstance(value, Tensor):
            return Value.of(value, node, self)
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

    def _check_shapes_alone(self, node: fx.Node, given: Any) -> None:
        """That no number depends on the values of tensors."""
        name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
        if name == "getattr":
            name = str(node.args[1])
        if name not in SHAPES and any(isinstance(part, Value) for part in leaves(given)):
            raise Untraceable(f"it takes a value out of a tensor ({name})")

    def _check_state_alone(self, target: Any, args: Any) -> None:
        """That no parameter or buffer is changed in place."""
        name = target if isinstance(target, str) else getattr(target, "__name__", "")
        changed = known(args[0]) if args and (name in CHANGES or (name.endswith("_") and name[-2:] != "__")) else None
        if isinstance(changed, Tensor) and changed.untyped_storage().data_ptr() in self._state:
            raise Untraceable(f"its forward changes {self._state[changed.untyped_storage().data_ptr()]} in place")

    def _elsewhere(self) -> bool:
        """Whether this is a run that is not to be recorded: a leaf's own, or another thread's."""
        return self._running or threading.get_ident() != self._thread

    @contextlib.contextmanager
    def _plainly(self) -> Iterator[None]:
        before, self._running = self._running, True
        try:
            with torch.no_grad():
                yield
        finally:
            self._running = before


class _Calls(TorchFunctionMode):
    """Sees every function of torch: those called with sizes alone, and those that change the network's own tensors."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Of torch: every call."""
        kwargs = kwargs or {}
        if not self.recorder._running:
            parts = [*leaves((args, kwargs))]
            if any(isinstance(p, Size | Shape) for p in parts) and not any(isinstance(p, Value) for p in parts):
                return self.recorder.recorded_call(func, args, kwargs)
            self.recorder._check_state_alone(func, args)
        return func(*args, **kwargs)


@contextlib.contextmanager
def _functions_of_autograd(recorder: Recorder) -> Iterator[None]:
    """Functions with a backward of their own are not looked into; checkpoints are."""
    own = torch.autograd.Function.__dict__["apply"]

    def apply(cls: Any, *args: Any, **kwargs: Any) -> Any:
        if recorder._elsewhere() or not any(isinstance(part, Value) for part in leaves((args, kwargs))):
            return own.__get__(None, cls)(*args, **kwargs)
        if cls is torch.utils.checkpoint.CheckpointFunction:
            return args[0](*args[2:])
        raise Untraceable(f"it calls {cls.__name__}, which has a backward of its own")

    torch.autograd.Function.apply = classmethod(apply)
    try:
        yield
    finally:
        torch.autograd.Function.apply = own


def _parameters(network: nn.Module) -> list[str]:
    try:
        return list(inspect.signature(network.forward).parameters)
    except (TypeError, ValueError):
        return []


def _is_users(frame: traceback.FrameSummary) -> bool:
    return not frame.filename.startswith(LIBRARY) or "site-packages" in frame.filename.removeprefix(LIBRARY[0])


def said_of(error: Exception) -> str:
    """What went wrong, and the user's own line where it did."""
    why = str(error).strip().splitlines()[0] if str(error).strip() else ""
    if not isinstance(error, Untraceable):
        why = f"{type(error).__name__}: {why}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_users(frame)]
    if not frames:
        return why
    text = linecache.getline(frames[-1].filename, frames[-1].lineno or 0).strip()
    return f"{why}: {Path(frames[-1].filename).name}:{frames[-1].lineno}" + (f": {text}" if text else "")
