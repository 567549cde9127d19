"""A study that ends in seconds, and a network that needs no training: its labels are its own answers."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from raprune.engine import Engine, ExactEngine, NaiveEngine
from raprune.engine.batches import steps_per_epoch
from raprune.engine.inputs import Inputs
from raprune.engine.stacked import StackedEngine
from raprune.engine.train import Recipe, train
from raprune.engine.val_order import fragile_first
from raprune.engine.workload import Workload
from raprune.evaluators.base import OnEngine
from raprune.network.graph import Traced, trace
from raprune.network.state import State
from raprune.plugins.datasets.base import Split, Splits, normalise
from raprune.plugins.models.vgg16 import Vgg16
from raprune.plugins.scores.base import Score
from raprune.registry import DATASETS, REWARDS, SCORES
from raprune.study.parts import FinetuneLength, FinetuneSpec, ScoringSpec
from raprune.study.schema import Choice, ModelChoice
from raprune.trial.candidates import Candidates, Scale
from tests.short import IMPORT, WIDTHS, Short

Network = TypeVar("Network", bound=nn.Module)

HEAD = f"""
name: tiny
model: {{import: '{IMPORT}'}}
dataset: {{name: digits, num_val: 200, num_test: 200}}
baseline: {{epochs: 2, learning_rate: 0.02, weight_decay: 0.005, batch_size: 16}}
finetune: {{after_layer: {{steps: 4}}}}
layers: [features.0, features.10, features.40]
scoring: {{batch_size: 50}}
"""
STUDY = (
    HEAD
    + """
guard: 0
candidates_per_layer: 40
order: low_to_high
credit: 0
sweep:
  drop_bound: [2.0, 8.0]
  method:
    - {name: agent, min_updates: 4, max_updates: 4}
    - magnitude
    - {name: random, match: agent}
"""
)
WHOLE = STUDY.replace(f"{{import: '{IMPORT}'}}", "{name: vgg16, width: 0.0625}")
"""The same with a network that every machine has: for raprune in a folder of its own."""


def write_study(folder: Path, text: str = STUDY) -> Path:
    """The tiny study as a file."""
    file = folder / "tiny.yaml"
    file.write_text(text)
    return file


def lively_vgg(width: float = 0.0625, seed: int = 0, dtype: torch.dtype = torch.float32) -> Vgg16:
    """A VGG-16 with random weights and random norms, so that every channel matters, in eval mode."""
    torch.manual_seed(seed)
    network = Vgg16(width, num_classes=10, in_channels=3).to(dtype)
    return _lively(network)


def lively_short(seed: int = 0, dtype: torch.dtype = torch.float32) -> nn.Module:
    """The same with four convolutions, at a third of the time: what is not about many layers does with it."""
    torch.manual_seed(seed)
    network = Short(10)
    network.features[0] = nn.Conv2d(3, WIDTHS[0], 3, 2, 1)
    return _lively(network.to(dtype))


def _lively(network: Network) -> Network:
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
            nn.init.normal_(module.bias, std=0.1)
        elif isinstance(module, nn.BatchNorm2d):
            for tensor, low in ((module.weight, 0.5), (module.running_var, 0.5)):
                nn.init.uniform_(tensor, low, 1.5)
            for tensor in (module.bias, module.running_mean):
                nn.init.normal_(tensor, std=0.5)
    return network.eval()


def own_labels(network: nn.Module, num_images: int, seed: int = 0) -> Splits:
    """Random images that the network labels itself: it scores 100%, and loses what pruning changes."""
    generator = torch.Generator().manual_seed(seed)

    def split(number: int) -> Split:
        images = torch.randint(0, 256, (number, 3, 32, 32), dtype=torch.uint8, generator=generator)
        with torch.no_grad():
            dtype = next(network.parameters()).dtype
            logits = network((images.to(dtype) / 255 - 0.5) / 0.25)
        return Split(images, logits.argmax(1))

    return Splits(split(64), split(num_images), split(50), 10, (0.5,) * 3, (0.25,) * 3)


@dataclass(frozen=True)
class FixedWorkload(Workload):
    """A workload whose network and data are given, not loaded."""

    network: Any = None
    splits: Any = None
    whole: tuple[str, ...] = ()

    def load_data(self, inputs: Inputs) -> Splits:
        return self.splits

    def load_network(self, inputs: Inputs, num_classes: int, input_shape: tuple[int, int, int]) -> Traced:
        return trace(copy.deepcopy(self.network), input_shape, residual=self.residual, whole=self.whole)

    def load_val_order(self, num_images: int) -> Tensor:
        val = self.splits.val
        with torch.no_grad():
            images = normalise(val.images_BCHW, self.splits, next(self.network.parameters()).dtype)
            return fragile_first(self.load_score(), [(self.network(images), val.labels_B)])


def engine_of(
    network: nn.Module,
    splits: Splits,
    before_reward: int = 0,
    residual: str = "independent",
    *,
    naive: bool = False,
    stacked: bool = False,
    score: str = "top1_accuracy",
    whole: tuple[str, ...] = (),
    device: str = "cpu",
    batch_size: int = 40,
    **options: Any,
) -> Engine:
    """An engine on a given network and data."""
    finetune = FinetuneSpec(before_reward=FinetuneLength(steps=before_reward), after_layer=FinetuneLength(steps=2))
    workload = FixedWorkload(
        "key", ModelChoice(name="vgg16"), Choice(name="given"), Choice(name=score),
        ScoringSpec(batch_size=batch_size),
        finetune, 0, "baseline", "nowhere", residual, network, splits, whole,
    )  # fmt: skip
    if naive:
        return NaiveEngine(workload, device)
    return (StackedEngine if stacked else ExactEngine)(workload, device, **options)


class EngineEvaluator(OnEngine):
    """An evaluator around one engine."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine, "here")


def candidates_of(engine: Engine, layer: str, drop_bound: float, floor: float | str = -1.0) -> Candidates:
    """The candidates of one layer of the untouched network."""
    state = State.baseline("baseline")
    reward = REWARDS.build("bounded_log", {"floor": floor})
    scale = Scale(engine.measure(state, "val"), drop_bound, reward)
    num_filters = engine.graph.group(layer).num_filters
    return Candidates(EngineEvaluator(engine), state, layer, num_filters, scale, lambda _: None)


@dataclass(frozen=True)
class Trained:
    """A small VGG-16, really trained on real digits."""

    network: Vgg16
    splits: Splits


def small_digits() -> Splits:
    """What the network of ``train_small`` is trained on."""
    splits: Splits = DATASETS.build("digits", {"num_val": 300, "num_test": 200})
    return splits


def train_small() -> Trained:
    """The tiny study's baseline: a few seconds on one core."""
    score: Score = SCORES.build("top1_accuracy", {})
    splits = small_digits()
    torch.manual_seed(0)
    network = Vgg16(0.0625, num_classes=10, in_channels=1).to(memory_format=torch.channels_last)
    torch.set_num_threads(1)
    recipe = Recipe(0.02, 0.9, 0.005, 16, "one_cycle")
    train(network, splits, score, recipe, 4 * steps_per_epoch(len(splits.train), 16), seed=0)
    return Trained(network.eval(), splits)


def with_dead_filters(network: Vgg16, layer: str, consumer: str, seed: int) -> tuple[Vgg16, Tensor]:
    """The same function with twice as many filters in ``layer``, shuffled: the new ones are large and read by nobody.

    Gives back the network and which of its filters are dead, (N,) bool.
    """
    wide = copy.deepcopy(network)
    index = int(layer.split(".")[1])
    conv, norm, reader = wide.features[index], wide.features[index + 1], wide.get_submodule(consumer)
    old = conv.out_channels
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(2 * old, generator=generator)
    with torch.no_grad():
        noise = torch.randn(conv.weight.shape, generator=generator) * 2 * conv.weight.std()
        conv.weight = nn.Parameter(torch.cat([conv.weight, noise])[order])
        for module, name in ((conv, "bias"), (norm, "weight"), (norm, "bias")):
            tensor = getattr(module, name)
            setattr(module, name, nn.Parameter(torch.cat([tensor, tensor])[order]))
        for name in ("running_mean", "running_var"):
            tensor = getattr(norm, name)
            setattr(norm, name, torch.cat([tensor, tensor])[order])
        reader.weight = nn.Parameter(torch.cat([reader.weight, torch.zeros_like(reader.weight)], 1)[:, order])
    conv.out_channels = norm.num_features = reader.in_channels = 2 * old
    return wide, order >= old
