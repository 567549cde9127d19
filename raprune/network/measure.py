"""Sizes of a network: parameters, multiply-adds, bytes, and how long one image takes."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class NetworkSize:
    """The size of a network, or of a part of it."""

    params: int
    macs: int
    model_bytes: int

    def plus(self, other: NetworkSize, times: int = 1) -> NetworkSize:
        """This size plus ``times`` times ``other``."""
        return NetworkSize(
            self.params + times * other.params,
            self.macs + times * other.macs,
            self.model_bytes + times * other.model_bytes,
        )


COUNTED = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


def size_of(network: nn.Module, *input_shapes: tuple[int, ...]) -> NetworkSize:
    """The size of a network, or of a layer that runs once for each of ``input_shapes`` (C, H, W)."""
    macs = sum(count_macs(network, shape) for shape in input_shapes)
    return NetworkSize(count_params(network), macs, count_bytes(network))


def count_params(network: nn.Module) -> int:
    """Number of values in weights, biases and norms, including frozen ones; buffers are not counted."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_bytes(network: nn.Module) -> int:
    """Bytes of the state dict, as a checkpoint holds it."""
    return sum(t.numel() * t.element_size() for t in network.state_dict().values())


def layer_macs(layer: nn.Module, source: Tensor, output: Tensor) -> int:
    """Multiply-adds for one image of a convolution, transposed convolution or linear layer that turned ``source`` into
    ``output``."""
    assert isinstance(layer.weight, Tensor)  # a buffer, too, such as of a fixed upsampling
    counted = source if isinstance(layer, nn.ConvTranspose2d) else output
    return counted[0].numel() * math.prod(layer.weight.shape[1:])


def count_macs(network: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Multiply-adds for one image of ``input_shape`` (C, H, W): conv, transposed conv and linear, bias not counted."""
    return sum(macs_of_layers(network, input_shape).values())


@torch.no_grad()
def macs_of_layers(network: nn.Module, input_shape: tuple[int, ...]) -> dict[str, int]:
    """The parts of :func:`count_macs`, by layer."""
    names: dict[nn.Module, str] = {m: name for name, m in network.named_modules() if isinstance(m, COUNTED)}
    macs = dict.fromkeys(names.values(), 0)

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        macs[names[module]] += layer_macs(module, inputs[0], output)

    hooks = [module.register_forward_hook(count) for module in names]
    training = network.training
    try:
        network.eval()
        network(one_image(network, input_shape))
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
    return macs


@torch.inference_mode()
def latency_s(network: nn.Module, input_shape: tuple[int, ...], runs: int = 20) -> float:
    """Median seconds for a batch of one image, after a warm-up; a first impression, not a benchmark."""
    example = one_image(network, input_shape)
    times = []
    for run in range(runs + 3):
        start = time.perf_counter()
        network(example)
        if example.device.type == "cuda":
            torch.cuda.synchronize(example.device)
        if run >= 3:
            times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2]


def one_image(network: nn.Module, input_shape: tuple[int, ...]) -> Tensor:
    """A (1, C, H, W) tensor of zeros in the network's type and on its device."""
    parameter = next(network.parameters())
    return torch.zeros(1, *input_shape, dtype=parameter.dtype, device=parameter.device)
