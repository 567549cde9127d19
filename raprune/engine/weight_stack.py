"""Several copies of one network, each masked and with weights of its own, trained in one set of launches.

Each copy has what it has alone: the same batches, norms, loss and optimiser state, and the same draws of dropout (on a
GPU other draws than alone, but the same in all slots). Its pruned filters stay in the network, and their channels are
zero where they are read; so the network that is cut from the result differs from one that was cut first by float
rounding only.

Every convolution is a grouped one with a group for each slot of the stack, also where all slots read the same images.
So all slots are computed alike, and what one gives does not depend on the others as long as their number is the same.
:func:`check_stack` refuses a network or a device that does not keep to that.

Legend: S slots, B images.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial, wraps
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call

from raprune.engine.agreement import LOOSE, TOLERANCE, random_cut
from raprune.engine.batches import train_batches
from raprune.engine.captured import Around, Loss
from raprune.engine.masked import Keeps
from raprune.engine.train import Recipe, train_on
from raprune.errors import InputError, first_line
from raprune.network.graph import Cuts, Graph, Group, Traced
from raprune.network.graph.modes import ByMode, WideDropout
from raprune.network.graph.module import Network
from raprune.network.surgery import build, cut_tensors
from raprune.plugins.datasets.base import Splits

NUM_IMAGES = 8
"""Images with which stacked training is compared with training alone."""
WAY_ON = "leave fidelity.together out: candidates are then fine-tuned one by one"


class Stack(Around):
    """The weights of several masked copies of one network, trained as one module: (B, ...) to (S, B, ...)."""

    def __init__(self, network: fx.GraphModule, factors: Sequence[Mapping[str, Tensor]]) -> None:
        """``factors``: for each slot, the factors of the network's :class:`Keeps`."""
        super().__init__(network)
        self.num_slots = len(factors)
        named = dict(network.named_parameters())
        self._names = list(named)
        self.weights = nn.ParameterList(
            nn.Parameter(self._repeated(parameter), requires_grad=parameter.requires_grad)
            for parameter in named.values()
        )
        kept = network.state_dict()
        self._buffers_S = {name: self._repeated(b) for name, b in network.named_buffers() if name in kept}
        for name in factors[0]:
            stacked = torch.stack([of_slot[name] for of_slot in factors])
            self._buffers_S[name] = stacked.to(next(network.parameters()).device)

    def _repeated(self, tensor: Tensor) -> Tensor:
        """(S, ...): channels come first in memory, which grouped convolutions need to treat all slots alike."""
        return tensor.detach().expand(self.num_slots, *tensor.shape).clone(memory_format=torch.contiguous_format)

    def train(self, mode: bool = True) -> Stack:
        """As for any module; modules that are held in eval mode stay in it."""
        super().train(mode)
        self.traced.train(mode)
        return self

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """(S, B, ...): the output of each slot."""
        tensors = {**dict(zip(self._names, self.weights, strict=True)), **self._buffers_S}
        images_SBCHW = images_BCHW.contiguous().expand(self.num_slots, *images_BCHW.shape)

        def one(tensors: Mapping[str, Tensor], images_BCHW: Tensor) -> Any:
            return functional_call(self.traced, dict(tensors), (images_BCHW,))

        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "There is a performance drop")  # operations that run slot by slot
            outputs: Tensor = torch.vmap(one, randomness="same")(tensors, images_SBCHW)
        return outputs

    def tensors(self, slot: int) -> dict[str, Tensor]:
        """The state dict of one slot, with the masked filters still in it."""
        network, given = self.traced, dict(zip(self._names, self.weights, strict=True))
        with torch.no_grad():
            for name, tensor in (*network.named_parameters(), *network.named_buffers()):
                if name in given or name in self._buffers_S:
                    tensor.copy_((given if name in given else self._buffers_S)[name][slot])
        return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def summed(loss_of: Loss) -> Loss:
    """The sum of every slot's own loss, so that each slot has the gradient that it has alone."""

    @wraps(loss_of)
    def loss(outputs_SB: Tensor, labels_B: Tensor) -> Tensor:
        return torch.stack([loss_of(outputs_B, labels_B) for outputs_B in outputs_SB.unbind()]).sum()

    return loss


def stack_of(network: fx.GraphModule, graph: Graph, old: Cuts, new: Sequence[Cuts], groups: Sequence[Group]) -> Stack:
    """A slot for each of ``new``, cuts of ``groups``; ``network`` is that of the cuts ``old``, and is used up."""
    keeps = Keeps(network, graph, old, groups)
    return Stack(network, [keeps.factors(cuts) for cuts in new])


def check_stack(
    traced: Traced,
    splits: Splits,
    loss_of: Loss,
    recipe: Recipe,
    num_slots: int,
    training: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> None:
    """Train one step of ``num_slots`` slots on real images, with every layer cut at random.

    ``training`` gives the precision in which candidates are fine-tuned: slots may be alike in one and not in another.
    Raises :class:`InputError` where a slot's weights are not those of training it alone, to rounding, or depend on its
    place in the stack, to the last bit.
    """
    dtype = next(traced.network.parameters()).dtype
    ((images, labels),) = train_batches(splits, recipe.batch_size, 1, 0, dtype)
    check = _Check(traced, loss_of, recipe, (images, labels))
    try:
        differs = check.against_alone()
        with training():
            moved = check.in_places(num_slots)
    except Exception as error:  # torch.vmap raises what it likes where it cannot stack a network
        why = f"the network cannot be fine-tuned together with others ({first_line(error)}): {WAY_ON}"
        raise InputError(why) from error
    if differs is not None:
        raise InputError(f"fine-tuned together with others, the network gets another {differs}: {WAY_ON}")
    if moved is not None:
        raise InputError(f"on this device a candidate's {moved} depends on its place among others: {WAY_ON}")


class _Check:
    def __init__(self, traced: Traced, loss_of: Loss, recipe: Recipe, batch: tuple[Tensor, Tensor]) -> None:
        self.traced = traced
        self.loss_of = loss_of
        self.recipe = recipe
        self.images, self.labels = batch
        self.groups = {layer: group for layer, group in traced.graph.groups.items() if group.num_filters > 1}
        generator = torch.Generator().manual_seed(0)
        self.one, self.other = (
            {layer: random_cut(group.num_filters, generator) for layer, group in self.groups.items()} for _ in range(2)
        )

    def against_alone(self) -> str | None:
        """The name of a tensor that is not what training alone gives; ``None`` if none is."""
        few, given = self.images[:NUM_IMAGES], _without_draws(self.traced.network)
        try:
            network, few, tolerance = copy.deepcopy(given).double(), few.double(), TOLERANCE
            expected = self._alone(network, few)
        except (RuntimeError, TypeError):  # its forward, its loss or its device requires lower precision
            network, few, tolerance = given, self.images[:NUM_IMAGES], LOOSE
            expected = self._alone(network, few)
        found = cut_tensors(
            self.traced.graph, self._stack(network, [self.other, self.one], few).tensors(1), {}, self.one
        )
        close = partial(torch.allclose, rtol=tolerance, atol=tolerance, equal_nan=True)
        return next((name for name, tensor in expected.items() if not close(found[name], tensor)), None)

    def in_places(self, num_slots: int) -> str | None:
        """The name of a tensor of a slot that its place or its neighbours change; ``None`` if none is."""
        one, others = [self.one], [self.other] * (num_slots - 1)
        network = self.traced.network
        first, last = (self._stack(network, cuts, self.images) for cuts in (one + others, others + one))
        pairs = ((0, num_slots - 1), (1, 0))
        return next((bad for here, at in pairs if (bad := _unequal(first.tensors(here), last.tensors(at)))), None)

    def _alone(self, network: fx.GraphModule, images: Tensor) -> dict[str, Tensor]:
        tensors = cut_tensors(self.traced.graph, network.state_dict(), {}, self.one)
        alone = build(Traced(network, self.traced.graph), self.one, tensors)
        train_on(alone, [((images,), self.labels[: len(images)])], self.loss_of, self.recipe, 1, 0)
        return dict(alone.state_dict())

    def _stack(self, network: fx.GraphModule, cuts: Sequence[Cuts], images: Tensor) -> Stack:
        stack = stack_of(copy.deepcopy(network), self.traced.graph, {}, cuts, list(self.groups.values()))
        batch = (images,), self.labels[: len(images)]
        train_on(stack, [batch], summed(self.loss_of), self.recipe, 1, 0)
        return stack


def _without_draws(network: fx.GraphModule) -> fx.GraphModule:
    """On a GPU, a copy that draws nothing as it trains: there, torch draws dropout of a stack by another algorithm."""
    if next(network.parameters()).device.type == "cpu":
        return network
    copied = copy.deepcopy(network)
    assert isinstance(copied, Network)
    drawing = (nn.modules.dropout._DropoutNd, WideDropout, ByMode)
    copied._held_in_eval |= {name for name, module in copied.named_modules() if isinstance(module, drawing)}
    return copied


def _unequal(here: Mapping[str, Tensor], there: Mapping[str, Tensor]) -> str | None:
    """The name of a tensor whose bits differ; NaN equals NaN."""
    return next((name for name, value in here.items() if not _same_bits(value, there[name])), None)


def _same_bits(here: Tensor, there: Tensor) -> bool:
    return torch.equal(here.nan_to_num(), there.nan_to_num()) and torch.equal(here.isnan(), there.isnan())
