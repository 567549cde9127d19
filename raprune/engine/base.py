"""What every engine does: the network and the data loaded once and kept; states built, trained and measured."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, fx, nn

from raprune.engine.arithmetic import exact_arithmetic
from raprune.engine.batches import Keep, TrainBatches, steps_per_epoch
from raprune.engine.cache.prefix import Store
from raprune.engine.inputs import Inputs
from raprune.engine.kernels.convolutions import FusedConv
from raprune.engine.kernels.program import Program, compile_module
from raprune.engine.launches import Purpose
from raprune.engine.moving import moved
from raprune.engine.split import channels_last
from raprune.engine.train import train_on
from raprune.engine.training_file import TrainingFile
from raprune.engine.workload import Baseline, Workload
from raprune.network.lowrank import Decomposition, collect, layer_of, scheme_of
from raprune.network.masks import KeepMask
from raprune.network.state import State
from raprune.network.surgery import build, refill, refillable
from raprune.plugins.datasets.base import Split, normalise
from raprune.plugins.datasets.transfer import to_device
from raprune.plugins.scores.base import Scored, Tally, score_whole
from raprune.study.parts import FinetuneLength
from raprune.study.seeds import seed_for

Forward = Callable[[Tensor], Tensor]

MAX_NETWORKS = 3
"""States whose network an engine keeps built."""


@dataclass
class Built:
    """The network of a state, and programs prepared from it."""

    network: fx.GraphModule
    convs: dict[str, FusedConv] = field(default_factory=dict)
    programs: dict[str, Any] = field(default_factory=dict)
    """The whole network's program under "", and whatever else an engine prepares."""

    def program(self) -> Program:
        """The whole network as a program, compiled once."""
        if "" not in self.programs:
            self.programs[""] = compile_module(self.network, self.convs)
        program: Program = self.programs[""]
        return program


class Engine(ABC):
    """One network, one data set, one device."""

    store: Store | None = None
    """What an engine computes once, if it keeps anything."""

    def __init__(self, workload: Workload, device: str = "cpu", inputs: Inputs | None = None) -> None:
        """``inputs`` belong to the caller; without them the engine reads its own."""
        self.workload = workload
        inputs = inputs or Inputs()
        self.device = torch.device(device)
        exact_arithmetic(self.device)
        if self.device.type == "cpu":
            torch.set_num_threads(workload.scoring.threads)
        self.score = workload.load_score()
        self._moved = moved(workload.load_data(inputs), self.device)
        self.splits = self._moved.splits
        self.traced = workload.load_network(inputs, self.splits.num_classes, self.splits.input_shape)
        self.graph = self.traced.graph
        self.weights = {name: t.clone() for name, t in self.traced.network.state_dict().items()}
        channels_last(self.traced.network.to(self.device))
        self._built: OrderedDict[str, Built] = OrderedDict()
        self._scratch: nn.Module | None = None
        self._decomposed: tuple[tuple[str, str, str, int], Decomposition] | None = None

    @abstractmethod
    def evaluate(
        self, state: State, layer: str, mask: KeepMask, lowest: float | None, start: Tally | None = None
    ) -> Scored:
        """Score ``state`` with ``layer`` cut to ``mask`` on val, after the study's fine-tune before the reward, if any.

        The result depends only on the arguments, the workload and the device type. ``score`` is ``None`` exactly
        where it is below ``lowest``, in the score's unit. ``start`` is the tally at which an earlier scoring stopped.
        """

    def evaluate_many(
        self, state: State, layer: str, masks: Sequence[KeepMask], lowest: float | None, starts: Sequence[Tally | None]
    ) -> list[Scored]:
        """:meth:`evaluate` for each mask."""
        if state.factors:
            raise ValueError("a state with factors has no candidates: filters are pruned before layers are factorised")
        pairs = zip(masks, starts, strict=True)
        return [self.evaluate(state, layer, mask, lowest, start) for mask, start in pairs]

    def built(self, state: State) -> Built:
        """The network of ``state``, physically smaller, in eval mode; kept for later calls, so do not train it."""
        if state.version in self._built:
            self._built.move_to_end(state.version)
        else:
            network = self.build(state)
            assert isinstance(network, fx.GraphModule)
            self._built[state.version] = Built(network)
            while len(self._built) > MAX_NETWORKS:
                self._built.popitem(last=False)
        return self._built[state.version]

    def build(self, state: State, tensors: Mapping[str, Tensor] | None = None) -> nn.Module:
        """A fresh network of ``state`` that the caller may train; with ``tensors`` instead of its own."""
        tensors = state.tensors(self.graph, self.weights) if tensors is None else tensors
        return channels_last(build(self.traced, state.keep_masks(), tensors, state.factors)).eval()

    def scratch(self, state: State, tensors: Mapping[str, Tensor] | None = None) -> nn.Module:
        """As :meth:`build`, but reuses one network where possible: the next call overwrites it."""
        if self._scratch is None or state.factors:
            network = self.build(state, tensors)
            if not state.factors and refillable(network):
                self._scratch = network
            return network
        tensors = state.tensors(self.graph, self.weights) if tensors is None else tensors
        refill(self._scratch, self.graph, state.keep_masks(), tensors)
        return channels_last(self._scratch).eval()

    def candidate(self, state: State, layer: str, mask: KeepMask) -> State:
        """``state`` with ``layer`` cut to ``mask`` after the fine-tune before the reward.

        All candidates of a state get the same seed, from that state (common random numbers).
        """
        cut = state.cut(self.graph, layer, mask)
        return self._trained(cut, self.workload.finetune.before_reward, "reward", state.version)

    def finetune(self, state: State, purpose: Purpose, seeded_by: str) -> State:
        """``state`` after the fine-tune for ``purpose``: after a layer, or at the end.

        Its draws depend on the data seed, ``purpose`` and ``seeded_by`` (the version of a state). With zero steps it
        returns ``state``.
        """
        lengths = self.workload.finetune
        return self._trained(state, lengths.after_layer if purpose == "commit" else lengths.at_end, purpose, seeded_by)

    def _trained(self, state: State, length: FinetuneLength, purpose: str, seeded_by: str) -> State:
        num_steps = self._num_steps(length)
        if num_steps == 0:
            return state
        network = self.build(state)
        self._train(network, num_steps, seeded_by, purpose, state)
        return state.trained(network.state_dict())

    def _train(
        self, network: nn.Module, num_steps: int, seeded_by: str, purpose: str, state: State | None = None
    ) -> None:
        """Train ``network``, in place; a long training that is no candidate's is kept on disk, as one of ``state``."""
        seed, recipe = seed_for(self.workload.data_seed, seeded_by, purpose), self.workload.recipe
        keep = self._keep(seed, num_steps) if purpose == "reward" else None
        dtype = next(network.parameters()).dtype
        batches = TrainBatches(self.splits, recipe.batch_size, num_steps, seed, dtype, keep)
        file = None if state is None or purpose == "reward" else self._file(state, num_steps, seed)
        train_on(network, batches, self.score.loss, recipe, num_steps, seed, file)

    def _file(self, state: State, num_steps: int, seed: int) -> TrainingFile | None:
        """Where a fine-tune of ``state`` is kept; ``None`` without a baseline on disk, or one of an earlier version."""
        folder = Path(self.workload.folder)
        baseline = Baseline.read(folder)
        if baseline is None or baseline.sources is None:
            return None
        work = self.workload
        settings = [part.model_dump(mode="json") for part in (work.model, work.dataset, work.score, work.scoring)]
        origin = [asdict(baseline.sources), baseline.weights_fingerprint, baseline.data_fingerprint, work.residual]
        return TrainingFile(
            folder.parents[1], state.version, *settings, *origin, asdict(work.recipe), num_steps, seed, self.device.type
        )

    def _keep(self, seed: int, num_steps: int) -> Keep | None:
        """Keeps the decoded images of a fine-tune that all candidates of a state have; ``None`` if they do not fit."""
        stream, store, size = self.splits.train.stream, self.store, self.workload.recipe.batch_size
        if stream is None or store is None or num_steps * size * stream.image_bytes > store.capacity:
            return None
        key = f"{self.workload.key}-train-{seed}"
        return lambda step, decode: cast(Tensor, store.batch(key, step, lambda: (decode(),))[0])

    def decomposed(self, state: State, layer: str, scheme: str, num_images: int) -> Decomposition:
        """Decompose a layer of ``state`` by the scheme of that name; equal arguments give equal bits.

        ``num_images``: seeded training images for schemes that need responses. The last decomposition is kept, because
        ranks are tried one after another.
        """
        key = (state.version, layer, scheme, num_images)
        if self._decomposed is None or self._decomposed[0] != key:
            network, by = self.built(state).network, scheme_of(scheme)
            responses = collect(network, layer, self._images(num_images)) if by.needs_responses else None
            with torch.no_grad():
                self._decomposed = key, by.decompose(layer_of(network, layer), responses)
        return self._decomposed[1]

    def _images(self, number: int) -> Iterator[Tensor]:
        return (images for images, _ in self.train_sample(number, "responses"))

    def train_sample(self, number: int, purpose: str, batch_size: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of training images, normalised but not augmented, and labels; ``purpose`` seeds the draw."""
        train, size = self.splits.train, batch_size or self.workload.scoring.batch_size
        generator = torch.Generator().manual_seed(seed_for(self.workload.data_seed, purpose))
        chosen = torch.randperm(len(train), generator=generator)[:number].to(train.labels_B.device)
        for start in range(0, len(chosen), size):
            some = chosen[start : start + size]
            yield self.as_input(train.at(some)), train.labels_B[some]

    @torch.inference_mode()
    def measure(self, state: State, split_name: str) -> float:
        """The score of ``state`` on a whole split, percent; nothing else reads the test split."""
        split = self.splits.split(split_name)
        return self._scored(self.forward(state), split).highest

    def forward(self, state: State) -> Forward:
        """The forward of ``state``, images to logits."""
        return self.built(state).program()

    def _num_steps(self, length: FinetuneLength) -> int:
        batch = self.workload.finetune.batch_size
        return length.num_steps(steps_per_epoch(len(self.splits.train), batch))

    def _scored(self, forward: Forward, split: Split) -> Tally:
        """The complete tally of ``forward``, which reads images prepared by :meth:`as_input`."""
        return score_whole(self.score, lambda raw: forward(self.as_input(raw)), split, self.workload.scoring.batch_size)

    def _whole(self, split: Split) -> Tensor:
        return self.score.whole(split.labels_B).cpu()

    def as_input(self, images_BCHW: Tensor) -> Tensor:
        """Images normalised, in the network's precision and layout, on its device."""
        dtype = next(self.traced.network.parameters()).dtype
        return normalise(to_device(images_BCHW, self.device), self.splits, dtype).contiguous(
            memory_format=torch.channels_last
        )


def device_name(device: torch.device) -> str:
    """``cpu``, or the accelerator's own name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
