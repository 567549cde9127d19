"""Does the drop bound hold on fresh images? No guard, a guard, and a warranty, over re-splits of held-out images.

    python benchmarks/coverage.py digits --resplits 20 --seed0 0 --out digits-0.parquet
    RAPRUNE_DATA=... python benchmarks/coverage.py cifar10 --resplits 5 --seed0 0 --out cifar10-0.parquet
    python benchmarks/coverage.py digits --finetune 44 --contracts "no guard" guard --out digits-tuned-0.parquet
    python benchmarks/coverage.py table digits-0.parquet cifar10-0.parquet

The network and its training images are fixed. Only the images that it has never seen are split again: into val, from
which the guard is taken, and fresh ones, which decide nothing. Every trial is a call of ``raprune.prune``: a few
layers, a fixed ranking, candidates scored as cut; with ``--finetune`` so many steps follow each layer, as in a study,
else none. Join the files of processes with different ``--seed0``; on digits each process
trains its own network. The table gives the share of trials whose drop on the fresh images is within the bound. That
drop has an error of its own: a network that loses exactly the bound is within it half of the time.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from raprune.api import prune
from raprune.engine.batches import steps_per_epoch
from raprune.engine.train import Recipe, train
from raprune.errors import InputError
from raprune.network.weights import load_checkpoint
from raprune.plugins.datasets.base import Split, Splits, shift_and_flip
from raprune.plugins.datasets.digits import MEAN, STD, enlarged_digits
from raprune.registry import DATASETS, MODELS, SCORES
from raprune.study.schema import DEFAULT_GUARD

CONTRACTS: dict[str, dict[str, Any]] = {
    "no guard": {"guard": 0.0},
    "guard": {"guard": DEFAULT_GUARD},
    "warranty": {"guard": 0.5, "warranty": 0.95},
}
DECISION = {"decision": "search", "candidates_per_layer": 60}


@dataclass(frozen=True)
class Held:
    """A network, some of its training images, and the images that it has never seen."""

    network: nn.Module
    train: Split
    held: Split
    mean: tuple[float, ...]
    std: tuple[float, ...]
    layers: tuple[str, ...]
    num_val: int


def digits(seed: int) -> Held:
    """A VGG-16 an eighth wide, trained on 697 digits; 1,100 are held out."""
    images = enlarged_digits()
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    held, train_images = images.take(order[:1100]), images.take(order[1100:])
    splits = Splits(train_images, held, None, 10, MEAN, STD, shift_and_flip(2, flip=False))
    torch.manual_seed(seed)
    network = MODELS.build("vgg16", {"width": 0.125}, num_classes=10, input_shape=(1, 32, 32))
    recipe = Recipe(0.02, 0.9, 0.005, 16, "one_cycle")
    train(network, splits, SCORES.build("top1_accuracy", {}), recipe, 15 * steps_per_epoch(len(train_images), 16), seed)
    layers = ("features.14", "features.24", "features.30", "features.37")
    return Held(network.eval(), train_images, held, MEAN, STD, layers, 500)


def cifar10(seed: int) -> Held:
    """A trained ResNet-20 and the 5,000 test images of CIFAR-10; the network is the same whatever the seed."""
    del seed
    root = Path(os.environ["RAPRUNE_DATA"])
    files = {name: str(root / "cifar10" / f"{name}.parquet") for name in ("train", "test")}
    splits: Splits = DATASETS.build("image_parquet", {**files, "num_train": 5000})
    assert splits.test is not None
    network = MODELS.build("cifar_resnet", {}, num_classes=10, input_shape=(3, 32, 32))
    load_checkpoint(network, root / "models" / "resnet20_cifar10_jpeg.pt")
    layers = ("layer1.1.conv1", "layer2.1.conv1", "layer3.0.conv1", "layer3.1.conv1")
    return Held(network.eval(), splits.train, splits.test, splits.mean, splits.std, layers, 1000)


DATA = {"digits": digits, "cifar10": cifar10}
LEARNING_RATES = {"digits": 0.01, "cifar10": 0.001}


def trials(held: Held, given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One row for each re-split, bound and contract."""
    rate = {"learning_rate": LEARNING_RATES[given.what]} if given.finetune else {}
    finetune = {"after_layer": {"steps": given.finetune}, **rate}
    for seed in range(given.seed0, given.seed0 + given.resplits):
        order = torch.randperm(len(held.held), generator=torch.Generator().manual_seed(seed))
        val, fresh = held.held.take(order[: held.num_val]), held.held.take(order[held.num_val :])
        for bound, contract in itertools.product(given.bounds, given.contracts):
            settings = CONTRACTS[contract] | DECISION | {"drop_bound": bound, "method": given.method}
            row = _trial(held, val, fresh, settings, finetune)
            if row is not None:
                yield {
                    "resplit": seed,
                    "contract": contract,
                    "drop_bound": bound,
                    "num_fresh_images": len(fresh),
                    **row,
                }


def _trial(
    held: Held, val: Split, fresh: Split, settings: dict[str, Any], finetune: dict[str, Any]
) -> dict[str, Any] | None:
    """The columns of one trial; ``None`` where the guard is too small for the contract."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            report = prune(
                held.network, _pair(held.train), _pair(val), settings.pop("drop_bound"), test=_pair(fresh),
                mean=held.mean, std=held.std, layers=held.layers, method=settings.pop("method"), finetune=finetune,
                out=folder, progress=False, settings=settings,
            ).report  # fmt: skip
        except InputError as error:
            print(error, file=sys.stderr)
            return None
    return {name: report.row[name] for name in COLUMNS}


COLUMNS = (
    "num_val_images", "num_guard_images", "pruning_ratio", "val_score_drop", "guard_score_drop", "score_drop_limit",
    "test_score_drop", "num_candidates", "num_guard_looks", "num_layers_whole", "wall_time_s",
)  # fmt: skip


def _pair(split: Split) -> tuple[torch.Tensor, torch.Tensor]:
    return split.images_BCHW, split.labels_B


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """One row for each data set, bound and contract: shares and means over the re-splits."""
    fresh = rows["test_score_drop"]
    rows = rows.assign(within=fresh <= rows["drop_bound"] + 1e-9, below=fresh <= rows["score_drop_limit"] + 1e-9)
    rows = rows.assign(finetune=rows["finetune"].fillna(0).astype(int), method=rows["method"].fillna("magnitude"))
    groups = rows.groupby(["data", "method", "finetune", "drop_bound", "contract"], sort=False)
    found = groups.agg(
        trials=("within", "size"),
        within_bound=("within", "mean"),
        pruned=("pruning_ratio", "mean"),
        val_drop=("val_score_drop", "mean"),
        guard_drop=("guard_score_drop", "mean"),
        fresh_drop=("test_score_drop", "mean"),
        fresh_sd=("test_score_drop", "std"),
        below_limit=("below", "mean"),
        looks=("num_guard_looks", "mean"),
        whole=("num_layers_whole", "mean"),
    )
    found["below_limit"] = found["below_limit"].where(found["guard_drop"].notna())
    return found.round({name: 1 if name in ("looks", "whole") else 2 for name in found} | {"pruned": 3})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=[*DATA, "table"])
    parser.add_argument("files", nargs="*", type=Path, help="for table: files of earlier runs")
    parser.add_argument("--resplits", type=int, default=20)
    parser.add_argument("--seed0", type=int, default=0, help="the first re-split, and the seed of the digits network")
    parser.add_argument("--finetune", type=int, default=0, metavar="STEPS", help="after each layer")
    parser.add_argument("--method", default="magnitude", help="what ranks the filters")
    parser.add_argument("--bounds", type=float, nargs="+", default=[2.0, 4.0])
    parser.add_argument("--contracts", nargs="+", choices=list(CONTRACTS), default=list(CONTRACTS))
    parser.add_argument(
        "--guard", type=float, default=DEFAULT_GUARD, help="share of val that is the guard, without a warranty"
    )
    parser.add_argument("--out", type=Path, default=Path("coverage.parquet"))
    given = parser.parse_args()
    if given.what != "table":
        torch.set_num_threads(1)
        CONTRACTS["guard"]["guard"] = given.guard
        known = {"data": given.what, "seed0": given.seed0, "guard": given.guard, "finetune": given.finetune}
        rows = []
        for row in trials(DATA[given.what](given.seed0), given):
            rows.append({**known, "method": given.method, **row})
            pd.DataFrame(rows).to_parquet(given.out)
        given.files = [given.out]
    print(table(pd.concat([pd.read_parquet(file) for file in given.files])).to_string())


if __name__ == "__main__":
    main()
