"""Scoring at a named fidelity: cheaper than the full measurement, and not equal to it.

On a part of val, a candidate's score is its parent state's score on all of val, less what the candidate loses against
the parent on that part: the paired difference has a far smaller error than the candidate's own score. With racing,
images are seen in a random order, and a score is the smallest of the upper bounds computed along the way and its own
value at the end; so a result depends on no floor but the requested one, and the memo may answer for any floor.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

import torch
from torch import Tensor, fx, nn

from raprune.engine.arithmetic import check_precisions
from raprune.engine.batches import train_batches
from raprune.engine.cache.prefix import Store
from raprune.engine.exact import Batches, ExactEngine
from raprune.engine.float32 import tf32
from raprune.engine.inputs import Inputs
from raprune.engine.kernels.program import compile_module
from raprune.engine.racing import Race, image_scores
from raprune.engine.split import Below, Crossing, below, narrowed
from raprune.engine.suffix import above, recalibrate
from raprune.engine.train import train_on
from raprune.engine.workload import Workload
from raprune.errors import InputError
from raprune.network.graph.plain import written_inputs
from raprune.network.masks import KeepMask
from raprune.network.state import ALL_LAYERS, State
from raprune.plugins.scores.base import CLASS_LABELS, Scored, Tally, advance, merged, score_batches
from raprune.study.seeds import seed_for

MAX_PARENTS = 8
"""States whose scores an engine remembers."""


@dataclass(frozen=True)
class Parent:
    """The state that a candidate is cut from and compared with."""

    score: float
    """Score on all of val."""
    ahead: float
    """``score`` less the score on the images that candidates see, points."""
    images: Tensor | None
    """Scores of the single images that candidates see, in their order; ``None`` without racing."""


class ApproximateEngine(ExactEngine):
    """The exact engine at another fidelity; states are still trained and measured in full."""

    def __init__(
        self,
        workload: Workload,
        device: str = "cpu",
        cache_gib: float = 2.0,
        store: Store | None = None,
        inputs: Inputs | None = None,
    ) -> None:
        super().__init__(workload, device, cache_gib, store, inputs)
        self.fidelity = workload.fidelity
        check_precisions([self.fidelity.precision], str(self.device))
        if self.fidelity.racing is not None and self.score.labels not in CLASS_LABELS:
            what = "compares images" if self.score.labels == "target" else "is no mean over images"
            raise InputError(f"fidelity.racing needs a score of class labels; {workload.score.name} {what}")
        self._order = self._chosen()
        self._parents: OrderedDict[str, Parent] = OrderedDict()

    def evaluate(
        self, state: State, layer: str, mask: KeepMask, lowest: float | None, start: Tally | None = None
    ) -> Scored:
        """As the contract says, at the workload's fidelity; with racing ``start`` is not used."""
        return super().evaluate(state, layer, mask, lowest, start if self.fidelity.racing is None else None)

    def candidate(self, state: State, layer: str, mask: KeepMask) -> State:
        """As the contract says: recalibrated exactly as it was scored, fine-tuned in full."""
        if not self.fidelity.recalibrates:
            return super().candidate(state, layer, mask)
        with self._training():
            whole = layer == ALL_LAYERS
            network = self._recalibrated_whole(state, mask) if whole else self._recalibrated(state, layer, mask)[0]
        return state.cut(self.graph, layer, mask).trained(network.state_dict())

    def _tally(self, state: State, batches: Batches, lowest: float | None, start: Tally | None) -> Tally:
        tally, parent, z = start, self._parent(state), self.fidelity.racing
        race = None if z is None or parent.images is None else Race(z, parent.score, parent.images)
        whole, least = self.score.whole(self.splits.val.labels_B[self._order]).cpu(), float("inf")
        if race is None and lowest is None:  # all images are seen, so a GPU is waited for less often
            with self._precision():
                tally = score_batches(self.score, _at_least_singles(batches), whole, None, start)
            return replace(tally, highest=tally.highest + parent.ahead)
        with self._precision():
            for logits, labels in batches:
                values = _at_least_single(logits())
                tally = advance(self.score, tally, values, labels, whole)
                highest = tally.highest + parent.ahead
                if race is not None:
                    least = min(least, race.bound(image_scores(self.score, values, labels)))
                tally = replace(tally, highest=min(least, highest))
                if tally.decides(lowest):
                    break
        assert tally is not None
        return tally

    def _precision(self) -> AbstractContextManager[None]:
        """The precision in which candidates are scored, including the layers below the decided one."""
        if self.fidelity.precision == "bfloat16":
            return torch.autocast(self.device.type, torch.bfloat16)
        return self._training()

    def _training(self) -> AbstractContextManager[None]:
        """The precision in which candidates are fine-tuned or recalibrated."""
        return tf32() if self.fidelity.precision == "tf32" else nullcontext()

    def _candidate(self, state: State, layer: str, mask: KeepMask, first: int) -> Batches:
        with self._training():
            return self._prepared(state, layer, mask, first)

    def _prepared(self, state: State, layer: str, mask: KeepMask, first: int) -> Batches:
        kind, steps = self.fidelity.finetune, self._reward_steps()
        if layer == ALL_LAYERS and self.fidelity.recalibrates:
            return self._whole_network(self._recalibrated_whole(state, mask), first)
        if layer == ALL_LAYERS:
            return super()._candidate(state, layer, mask, first)
        if kind == "recalibrate" or (kind == "suffix" and steps):
            return self._above(state, layer, mask, first)
        return super()._candidate(state, layer, mask, first)

    def _reward_steps(self) -> int:
        steps = self.fidelity.finetune_steps
        return super()._reward_steps() if steps is None else steps

    def _above(self, state: State, layer: str, mask: KeepMask, first: int) -> Batches:
        """The candidate's logits: the part above the layer is trained or recalibrated, the part below is fixed."""
        of_state = self._below(state, layer)
        indices = of_state.indices(of_state.kept(mask.tensor))
        if self.fidelity.recalibrates:
            _, part = self._recalibrated(state, layer, mask)
        else:
            part, seed = self._part(state, layer, mask)[1], self._reward_seed(state)
            steps = self._reward_steps()
            all_steps = self._train_values(state, of_state, seed, steps)
            copied = [True] * len(indices)
            batches = ((narrowed(values, indices, copied), labels) for values, labels in all_steps)
            train_on(part, batches, self.score.loss, self.workload.recipe, steps, seed)
        return self._scored_above(part, state, of_state, indices, first)

    def _recalibrated(self, state: State, layer: str, mask: KeepMask) -> tuple[nn.Module, fx.GraphModule]:
        """A candidate's network with the norms above the layer recalibrated, and its part above."""
        network, part = self._part(state, layer, mask)
        of_state, number = self._below(state, layer), self.fidelity.recalibration_batches
        some = self._train_values(state, of_state, self._reward_seed(state), number)
        indices = of_state.indices(of_state.kept(mask.tensor))
        copied = [True] * len(indices)
        recalibrate(part, (narrowed(values, indices, copied) for values, _ in some))
        return network, part

    def _recalibrated_whole(self, state: State, mask: KeepMask) -> nn.Module:
        """The network of ``state`` with all layers cut to ``mask`` and all norms recalibrated."""
        network, number = self.scratch(state.cut(self.graph, ALL_LAYERS, mask)), self.fidelity.recalibration_batches
        dtype, seed = next(network.parameters()).dtype, self._reward_seed(state)
        batches = train_batches(self.splits, self.workload.recipe.batch_size, number, seed, dtype)
        recalibrate(network, ((images,) for images, _ in batches))
        return network

    def _part(self, state: State, layer: str, mask: KeepMask) -> tuple[nn.Module, fx.GraphModule]:
        """A candidate's network, to use at once, and its part above the layer, which shares its modules."""
        network = self.scratch(state.cut(self.graph, layer, mask))
        assert isinstance(network, fx.GraphModule)
        return network, above(network, self.graph, layer)

    def _reward_seed(self, state: State) -> int:
        return seed_for(self.workload.data_seed, state.version, "reward")

    def _scored_above(
        self, part: fx.GraphModule, state: State, of_state: Below, indices: list[Tensor | None], first: int
    ) -> Batches:
        forward, key = compile_module(part), self.prefix_key(state, of_state.layer)
        inputs, names = [n.name for n in part.graph.nodes if n.op == "placeholder"], written_inputs(part, part.graph)
        written = [name in names for name in inputs]

        for index, some in self._val_batches(first):
            values = narrowed(self._crossing(of_state.prefix, key, index, some), indices, written)
            yield partial(forward, *values), self.splits.val.labels_B[some]

    def _train_values(self, state: State, of_state: Below, seed: int, number: int) -> Iterator[tuple[Crossing, Tensor]]:
        """Crossing values and labels of the first ``number`` training batches; cached as far as there is room."""
        dtype = next(self.traced.network.parameters()).dtype
        batches = train_batches(self.splits, self.workload.recipe.batch_size, number, seed, dtype)
        made = 0

        def compute(index: int) -> Crossing:
            nonlocal made
            images, labels = next(islice(batches, index - made, None))
            made = index + 1
            with torch.no_grad():
                return (*of_state.prefix(images), labels)

        key = f"{self.prefix_key(state, of_state.layer)}-train"
        for index in range(number):
            *values, labels = self.store.batch(key, index, partial(compute, index))
            yield tuple(values), labels

    def _below(self, state: State, layer: str) -> Below:
        built, name = self.built(state), f"below {layer}"
        if name not in built.programs:
            with torch.inference_mode():
                built.programs[name] = below(built.network, self.graph, layer, state.keep_masks(), built.convs)
        part: Below = built.programs[name]
        return part

    def _chosen(self) -> Tensor:
        """The val images that candidates see: fragile ones first, or with racing in a random order."""
        number = self.fidelity.val_images
        generator = torch.Generator().manual_seed(seed_for(self.workload.data_seed, "val_images"))
        drawn = torch.randperm(len(self._order), generator=generator)[:number].to(self._order.device)
        return self._order[torch.isin(self._order, drawn)] if self.fidelity.racing is None else drawn

    def _parent(self, state: State) -> Parent:
        if state.version not in self._parents:
            self._parents[state.version] = self._measured(state)
            while len(self._parents) > MAX_PARENTS:
                self._parents.popitem(last=False)
        return self._parents[state.version]

    def _measured(self, state: State) -> Parent:
        if self.fidelity.val_images is None and self.fidelity.racing is None:
            return Parent(0.0, 0.0, None)
        val, forward = self.splits.val, self.forward(state)
        counts, images = [], []
        with self._precision():
            for _, some in self._val_batches(0):
                logits = _at_least_single(forward(self.as_input(val.at(some))))
                labels = val.labels_B[some]
                counts.append(self.score.counts(logits, labels).cpu())
                if self.fidelity.racing is not None:
                    images.append(image_scores(self.score, logits, labels))
        seen = self.score.value(merged(self.score, counts), self.score.whole(val.labels_B[self._order]).cpu())
        is_all = len(self._order) == len(val)
        score = seen if is_all else self.measure(state, "val")
        return Parent(score, score - seen, torch.cat(images) if images else None)


def _at_least_singles(batches: Batches) -> Batches:
    return ((partial(_called, logits), labels_B) for logits, labels_B in batches)


def _called(logits: Callable[[], Tensor]) -> Tensor:
    return _at_least_single(logits())


def _at_least_single(logits: Tensor) -> Tensor:
    """``logits`` in single precision or better, as scores need them."""
    return logits.float() if logits.dtype == torch.bfloat16 else logits
