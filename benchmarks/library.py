"""``raprune.api.prune`` on networks that we did not write: ``python benchmarks/library.py [NETWORK ...]``.

Each is trained briefly on CIFAR-10 as a user would (float images, normalised by their transform), then pruned
within two points of validation accuracy. Needs ``RAPRUNE_DATA``. Rows are printed as they get ready.
"""

from __future__ import annotations

import argparse
import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import timm
import torch
import torchvision
from PIL import Image
from timm.layers import LayerNorm2d
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision.transforms import v2

from raprune.api import Pruned, prune

MEAN, STD = (0.491, 0.482, 0.447), (0.247, 0.243, 0.262)
TRANSFORM = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])
NUM_TRAIN, NUM_TEST = 5000, 1000


@dataclass(frozen=True)
class Foreign:
    """A network of a library, and what ``prune`` has to know of it."""

    make: Callable[[], nn.Module]
    learning_rate: float
    """Peak, of AdamW."""
    whole: Callable[[nn.Module], list[str]] = lambda _: []
    """Modules whose inputs stay: what ``prune`` says that it cannot follow."""


def layer_norms(network: nn.Module) -> list[str]:
    """Norms over all channels: with fewer channels they would compute something else."""
    return [name for name, module in network.named_modules() if isinstance(module, LayerNorm2d)]


NETWORKS = {
    "torchvision squeezenet1_1": Foreign(lambda: torchvision.models.squeezenet1_1(num_classes=10), 1e-3),
    "timm resnet10t": Foreign(lambda: timm.create_model("resnet10t", num_classes=10), 2e-3),
    "timm convnext_atto": Foreign(lambda: timm.create_model("convnext_atto", num_classes=10), 1e-3, layer_norms),
    "timm mobilenetv3_small_050": Foreign(lambda: timm.create_model("mobilenetv3_small_050", num_classes=10), 4e-3),
    "torchvision resnet18": Foreign(lambda: torchvision.models.resnet18(num_classes=10), 2e-3),
}
DEFAULT = list(NETWORKS)[:3]


class Cifar(Dataset[tuple[torch.Tensor, int]]):
    """CIFAR-10's images in Parquet, through the usual transform."""

    def __init__(self, file: Path, number: int) -> None:
        rows = pq.read_table(file).slice(0, number)
        self.images = [row["bytes"] for row in rows["img"].to_pylist()]
        self.labels = rows["label"].to_pylist()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return TRANSFORM(Image.open(io.BytesIO(self.images[index]))), self.labels[index]


def train(network: nn.Module, data: Dataset[tuple[torch.Tensor, int]], epochs: int, learning_rate: float) -> None:
    """AdamW with a one-cycle schedule; images are mirrored at random."""
    batches = list(DataLoader(data, 64))
    optimiser = torch.optim.AdamW(network.parameters(), learning_rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, epochs * len(batches))
    network.train()
    for _ in range(epochs):
        for index in torch.randperm(len(batches)).tolist():
            images, labels = batches[index]
            images = torch.where(torch.rand(len(images), 1, 1, 1) < 0.5, images, images.flip(3))
            optimiser.zero_grad()
            F.cross_entropy(network(images), labels, label_smoothing=0.1).backward()
            optimiser.step()
            schedule.step()
    network.eval()


def row(name: str, pruned: Pruned) -> str:
    """A network's line; its seconds are those of all its calls."""
    r = pruned.report
    sizes = f"{r.baseline_params:>10,} -> {r.params:>9,}  {r.baseline_macs:>10,} -> {r.macs:>10,}"
    scores = f"{r.baseline_val_score:5.1f} -> {r.val_score:5.1f}  {r.baseline_test_score:5.1f} -> {r.test_score:5.1f}"
    return (
        f"{name:<27} {r.row['num_layers']:>3}  {r.pruning_ratio:5.1%}  {sizes}  {scores}  {r.row['wall_time_s']:5.0f}"
    )


def main(names: Sequence[str], epochs: int, updates: int, num_val: int, out: Path | None) -> None:
    torch.set_num_threads(1)
    root = Path(os.environ["RAPRUNE_DATA"]) / "cifar10"
    both = Cifar(root / "train.parquet", NUM_TRAIN + num_val)
    train_set, val_set = Subset(both, range(NUM_TRAIN)), Subset(both, range(NUM_TRAIN, NUM_TRAIN + num_val))
    test_set = Cifar(root / "test.parquet", NUM_TEST)
    print(f"{'network':<27} lay  pruned  {'parameters':^23}  {'multiply-adds':^24}  validation %    test %           s")
    for name in names:
        foreign = NETWORKS[name]
        torch.manual_seed(0)
        network = foreign.make()
        train(network, train_set, epochs, foreign.learning_rate)
        pruned = prune(
            network, train_set, val_set, drop_bound=2.0, guard=0, test=test_set, whole=foreign.whole(network),
            flip=True, method={"name": "agent", "max_updates": updates}, finetune={"after_layer": {"steps": 40}},
            progress=False,
            out=None if out is None else out / name.replace(" ", "-"),
        )  # fmt: skip
        print(row(name, pruned), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", default=DEFAULT, metavar="NETWORK", help=f"of {', '.join(NETWORKS)}")
    parser.add_argument("--epochs", type=int, default=8, help="of the training beforehand")
    parser.add_argument("--updates", type=int, default=5, help="of the agent, a layer")
    parser.add_argument("--val", type=int, default=500, help="validation images")
    parser.add_argument("--out", type=Path, help="goes on with what it holds; a temporary folder by default")
    given = parser.parse_args()
    if unknown := set(given.networks) - set(NETWORKS):
        parser.error(f"no network here is called {sorted(unknown)[0]!r}: choose of {', '.join(NETWORKS)}")
    main(given.networks, given.epochs, given.updates, given.val, given.out)
