"""Sizes of a network: parameters, multiply-adds, bytes, and how long one image takes."""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor, nn

COUNTED = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


def count_params(network: nn.Module) -> int:
    """Numbers in weights, biases and norms, frozen ones too; buffers are not counted."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_bytes(network: nn.Module) -> int:
    """Bytes of the state dict: what a checkpoint of it holds."""
    return sum(t.numel() * t.element_size() for t in network.state_dict().values())


@torch.no_grad()
def count_macs(network: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Multiply-adds for one image of ``input_shape`` (C, H, W): conv, transposed conv and linear, bias not counted."""
    total = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Conv2d):
            total += output[0].numel() * math.prod(module.weight.shape[1:])
        elif isinstance(module, nn.ConvTranspose2d):
            total += inputs[0][0].numel() * math.prod(module.weight.shape[1:])
        elif isinstance(module, nn.Linear):
            total += output[0].numel() * module.weight.shape[1]

    hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, COUNTED)]
    training = network.training
    try:
        network.eval()
        network(_example(network, input_shape))
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
    return total


@torch.inference_mode()
def latency_s(network: nn.Module, input_shape: tuple[int, ...], runs: int = 20) -> float:
    """Median seconds for a batch of one image, after a warm-up; a first impression, not a benchmark."""
    example = _example(network, input_shape)
    times = []
    for run in range(runs + 3):
        start = time.perf_counter()
        network(example)
        if example.device.type == "cuda":
            torch.cuda.synchronize(example.device)
        if run >= 3:
            times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2]


def _example(network: nn.Module, input_shape: tuple[int, ...]) -> Tensor:
    parameter = next(network.parameters())
    return torch.zeros(1, *input_shape, dtype=parameter.dtype, device=parameter.device)
