"""The library's direct convolution beside ours, and how ours changes logits: ``python benchmarks/convolutions.py``.

Rates count multiply-adds as a direct convolution needs them. The second part needs RAPRUNE_DATA: 1,000 CIFAR-10 images
through a full-width VGG-16, logits against float64's.
"""

from __future__ import annotations

import copy
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from raprune.engine.kernels.convolutions import fuse
from raprune.engine.kernels.program import compile_module
from raprune.network.graph import trace
from raprune.network.weights import load_checkpoint
from raprune.plugins.datasets.base import Splits, normalise
from raprune.registry import DATASETS, MODELS

SHAPES = (
    (64, 64, 32),
    (64, 128, 16),
    (128, 128, 16),
    (128, 256, 8),
    (256, 256, 8),
    (256, 512, 4),
    (512, 512, 4),
    (512, 512, 2),
)
BATCH = 100


def seconds(call: Callable[[], Tensor], runs: int = 9) -> float:
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return sorted(times)[runs // 2]


def rates() -> None:
    print("channels filters  size   direct  ours   G multiply-adds/s")
    for channels, filters, size in SHAPES:
        conv = nn.Conv2d(channels, filters, 3, padding=1).to(memory_format=torch.channels_last)
        fused = fuse(conv, None, relu=True)
        x = torch.randn(BATCH, channels, size, size).contiguous(memory_format=torch.channels_last)
        macs = BATCH * channels * filters * 9 * size**2 / 1e9
        direct, ours = seconds(lambda c=conv, x=x: F.relu_(c(x))), seconds(lambda f=fused, x=x: f(x))
        how = fused.geometry.algorithm(channels, filters, size, size)
        print(f"{channels:8d}{filters:8d}{size:6d}{macs / direct:9.1f}{macs / ours:6.1f}   {direct / ours:.2f}x {how}")


def rounding(data: Path) -> None:
    splits: Splits = DATASETS.build("image_parquet", {"train": str(data / "cifar10/test.parquet"), "num_val": 1000})
    network: nn.Module = MODELS.build("vgg16", {}, num_classes=10, input_shape=(3, 32, 32)).eval()
    load_checkpoint(network, data / "models/vgg16_cifar10_jpeg.safetensors")
    traced = trace(network, (3, 32, 32)).network.to(memory_format=torch.channels_last)
    exact = copy.deepcopy(traced).double()
    images = normalise(splits.val.images_BCHW, splits, torch.float32).contiguous(memory_format=torch.channels_last)
    parts = images.split(BATCH)
    wanted = torch.cat([exact(x.double()) for x in parts])
    for name, forward in (("plain float32", traced), ("ours", compile_module(traced))):
        found = torch.cat([forward(x) for x in parts])
        off = float((found - wanted).abs().max() / wanted.abs().max())
        differ = int((found.argmax(1) != wanted.argmax(1)).sum())
        print(f"{name:14s} logits off by {off:.1e} of the largest, {differ} of {len(wanted)} predictions differ")


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    with torch.inference_mode():
        rates()
        if "RAPRUNE_DATA" in os.environ:
            rounding(Path(os.environ["RAPRUNE_DATA"]))
