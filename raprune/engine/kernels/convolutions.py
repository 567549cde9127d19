"""A convolution with its norm and ReLU, as fast as a processor runs it; the algorithm follows from the shapes alone.

Shapes: B images, C channels, K filters, H x W pixels, R x S kernel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from raprune.engine.kernels.winograd import convolve, transform_weight
from raprune.network.graph.plain import is_plain

Algorithm = Literal["direct", "winograd", "matrix"]
Pair = tuple[int, int]

MIN_WINOGRAD_WORK = 64 * 64
"""Channels times filters from which Winograd's transforms pay."""
MIN_WINOGRAD_PIXELS = 9
MAX_MATRIX = 2**24
"""Entries of the largest matrix that stands for a convolution."""


@dataclass(frozen=True)
class Geometry:
    """How a convolution moves over its input."""

    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair

    def output(self, height: int, width: int) -> Pair:
        """Height and width of the output."""
        sizes = zip((height, width), self.kernel, self.stride, self.padding, self.dilation, strict=True)
        rows, columns = ((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sizes)
        return rows, columns

    def algorithm(self, channels: int, filters: int, height: int, width: int) -> Algorithm:
        """The fastest algorithm on a processor, chosen from the shapes, never by a timing.

        ``matrix``: on maps of a few pixels most of a kernel covers padding; one matrix over all pixels skips that.
        ``winograd``: 3x3 kernels of stride 1 with enough channels.
        """
        rows, columns = self.output(height, width)
        inputs, outputs = height * width * channels, rows * columns * filters
        if height * width * 10 <= self.kernel[0] * self.kernel[1] * 7 and inputs * outputs <= MAX_MATRIX:
            return "matrix"
        plain = (self.kernel, self.stride, self.padding, self.dilation) == ((3, 3), (1, 1), (1, 1), (1, 1))
        enough = channels * filters >= MIN_WINOGRAD_WORK and height * width >= MIN_WINOGRAD_PIXELS
        return "winograd" if plain and enough else "direct"


class FusedConv:
    """Convolution, norm (folded into the weights) and ReLU in one call; channels_last in and out."""

    def __init__(self, weight_KCRS: Tensor, bias_K: Tensor, geometry: Geometry, relu: bool) -> None:
        self.weight_KCRS = weight_KCRS
        self.bias_K = bias_K
        self.geometry = geometry
        self.relu = relu
        self._prepared: dict[Pair | Algorithm, Tensor] = {}

    def __call__(self, images_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) to (B, K, H', W')."""
        size = (images_BCHW.shape[2], images_BCHW.shape[3])
        if images_BCHW.device.type == "cpu" and not torch.is_autocast_enabled("cpu"):  # their sums need full precision
            filters, channels = self.weight_KCRS.shape[:2]
            algorithm = self.geometry.algorithm(channels, filters, *size)
            if algorithm == "winograd":
                return convolve(images_BCHW, self.winograd(), self.bias_K, self.relu)
            if algorithm == "matrix":
                return self._as_matrix(images_BCHW, size)
        g = self.geometry
        out = F.conv2d(images_BCHW, self.weight_KCRS, self.bias_K, g.stride, g.padding, g.dilation)
        return out.relu_() if self.relu else out

    def winograd(self) -> Tensor:
        """(36, C, K)."""
        if "winograd" not in self._prepared:
            self._prepared["winograd"] = transform_weight(self.weight_KCRS)
        return self._prepared["winograd"]

    def matrix(self, size: Pair) -> Tensor:
        """(H, W, C, H' * W' * K): the weight of each input pixel in each output pixel, for inputs of ``size``."""
        if size not in self._prepared:
            self._prepared[size] = _matrix(self.weight_KCRS, self.geometry, size)
        return self._prepared[size]

    def narrowed(self, channels: Tensor | None, filters: Tensor | None) -> FusedConv:
        """The convolution on some channels, with some filters; it reuses the prepared weights, so sums are equal."""
        return _Narrowed(self, channels, filters)

    def _as_matrix(self, images_BCHW: Tensor, size: Pair) -> Tensor:
        rows, columns = self.geometry.output(*size)
        matrix = self.matrix(size)
        inputs = images_BCHW.permute(0, 2, 3, 1).flatten(1)
        out = torch.addmm(self.bias_K.repeat(rows * columns), inputs, matrix.flatten(0, 2))
        out = out.relu_() if self.relu else out
        return out.view(len(out), rows, columns, -1).permute(0, 3, 1, 2)


class _Narrowed(FusedConv):
    """Slices its weights from the whole convolution's, which are prepared once for all candidates."""

    def __init__(self, whole: FusedConv, channels: Tensor | None, filters: Tensor | None) -> None:
        weight, bias = _select(_select(whole.weight_KCRS, 1, channels), 0, filters), _select(whole.bias_K, 0, filters)
        super().__init__(weight, bias, whole.geometry, whole.relu)
        self._whole, self._channels, self._filters = whole, channels, filters

    def winograd(self) -> Tensor:
        if "winograd" not in self._prepared:
            self._prepared["winograd"] = _select(_select(self._whole.winograd(), 1, self._channels), 2, self._filters)
        return self._prepared["winograd"]

    def matrix(self, size: Pair) -> Tensor:
        if size not in self._prepared:
            whole = _select(self._whole.matrix(size), 2, self._channels)
            if self._filters is not None:
                pixels = whole.view(*whole.shape[:3], -1, self._whole.bias_K.numel())
                whole = pixels.index_select(4, self._filters).flatten(3)
            self._prepared[size] = whole
        return self._prepared[size]


def _select(tensor: Tensor, dim: int, index: Tensor | None) -> Tensor:
    return tensor if index is None else tensor.index_select(dim, index)


def _matrix(weight_KCRS: Tensor, geometry: Geometry, size: Pair) -> Tensor:
    filters, channels = weight_KCRS.shape[:2]
    rows, columns = geometry.output(*size)
    matrix = weight_KCRS.new_zeros(*size, channels, rows, columns, filters)
    for row, column, r, s in torch.cartesian_prod(*map(torch.arange, (rows, columns, *geometry.kernel))).tolist():
        y = row * geometry.stride[0] - geometry.padding[0] + r * geometry.dilation[0]
        x = column * geometry.stride[1] - geometry.padding[1] + s * geometry.dilation[1]
        if 0 <= y < size[0] and 0 <= x < size[1]:
            matrix[y, x, :, row, column] += weight_KCRS[:, :, r, s].T
    return matrix.flatten(3)


def fuse(conv: nn.Conv2d, norm: nn.BatchNorm2d | None, relu: bool) -> FusedConv:
    """Fuse a convolution, for which :func:`can_fuse` is true, with its norm and ReLU, in eval mode."""
    weight, bias = conv.weight.detach(), None if conv.bias is None else conv.bias.detach()
    bias = torch.zeros_like(weight[:, 0, 0, 0]) if bias is None else bias
    if norm is not None:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = (norm.running_var + norm.eps).rsqrt()
        scale = scale if norm.weight is None else scale * norm.weight.detach()
        weight = weight * scale[:, None, None, None]
        bias = (bias - norm.running_mean) * scale
        bias = bias if norm.bias is None else bias + norm.bias.detach()
    kernel, stride, dilation = (_pair(size) for size in (conv.kernel_size, conv.stride, conv.dilation))
    padding = (0, 0) if isinstance(conv.padding, str) else _pair(conv.padding)  # "valid"
    geometry = Geometry(kernel, stride, padding, dilation)
    return FusedConv(weight.contiguous(memory_format=torch.channels_last), bias, geometry, relu)


def can_fuse(conv: nn.Module) -> bool:
    """Whether it is a plain convolution: without hooks, not grouped, zero padding of a given size."""
    if not (isinstance(conv, nn.Conv2d) and is_plain(conv, nn.Conv2d)):
        return False
    return conv.groups == 1 and conv.padding_mode == "zeros" and conv.padding != "same"


def can_fold(norm: nn.Module) -> bool:
    """Whether it is a plain batch norm with fixed statistics."""
    return is_plain(norm, nn.BatchNorm2d) and norm.running_mean is not None and not norm.training


def _pair(size: tuple[int, ...]) -> Pair:
    first, second = size
    return first, second
