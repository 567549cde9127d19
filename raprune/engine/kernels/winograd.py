"""Winograd's minimal filtering F(4x4, 3x3): a 3x3 convolution of stride 1 with a quarter of the multiplications.

Source: Lavin and Gray, *Fast Algorithms for Convolutional Neural Networks*, arXiv 1509.09308, equations 8 and 12 and
section 4.3. Departures: the transforms of a tile are one matrix each (the Kronecker square of the paper's), so that
every step is a matrix product of a tuned library; images go through in parts that stay in the processor's caches.

The remaining multiply-adds run at the library's best rate, so a large convolution takes two thirds of the time of a
direct one. Rounding grows about fourfold per layer and stays far below the bound of the exactness rules
(``benchmarks/README.md`` has the figures).

Shapes: B images, C channels, K filters, H x W pixels, T tiles of 4x4 outputs from 6x6 inputs.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

TILE, PATCH = 4, 6
SMALLEST_PART, LARGEST_PART = 1.2e6, 1e7
"""Bytes processed at a time: as many as the weights have, within these limits."""

_INPUT = (
    (4, 0, -5, 0, 1, 0), (0, -4, -4, 1, 1, 0), (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0), (0, 2, -1, -2, 1, 0), (0, 4, 0, -5, 0, 1),
)  # fmt: skip
_FILTER = (
    (1 / 4, 0, 0), (-1 / 6, -1 / 6, -1 / 6), (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6), (1 / 24, -1 / 12, 1 / 6), (0, 0, 1),
)  # fmt: skip
_OUTPUT = ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1))


@cache
def _square(rows: tuple[tuple[float, ...], ...], dtype: torch.dtype) -> Tensor:
    """The matrix that acts on a flattened tile as ``rows`` does on its rows and columns."""
    matrix = torch.tensor(rows, dtype=torch.float64)
    return torch.kron(matrix, matrix).to(dtype)


def transform_weight(weight_KC33: Tensor) -> Tensor:
    """(36, C, K): the weights that :func:`convolve` needs; slicing channels or filters commutes with the transform."""
    filters, channels = weight_KC33.shape[:2]
    weight_9CK = weight_KC33.double().permute(2, 3, 1, 0).reshape(9, channels * filters)
    transformed = _square(_FILTER, torch.float64) @ weight_9CK
    return transformed.view(PATCH * PATCH, channels, filters).to(weight_KC33.dtype)


def convolve(images_BCHW: Tensor, weight_36CK: Tensor, bias_K: Tensor, relu: bool) -> Tensor:
    """Convolve with padding 1, then apply ReLU if ``relu``; channels_last in and out."""
    batch, channels, height, width = images_BCHW.shape
    filters = weight_36CK.shape[2]
    rows, columns = -(-height // TILE), -(-width // TILE)
    images_BHWC = images_BCHW.permute(0, 2, 3, 1)
    out_BHWK = images_BCHW.new_empty(batch, height, width, filters)
    for start in range(0, batch, step := _images_a_part(weight_36CK, rows * columns)):
        some_BHWC = images_BHWC[start : start + step]
        number = some_BHWC.shape[0]
        padded = F.pad(some_BHWC, (0, 0, 1, columns * TILE + 1 - width, 1, rows * TILE + 1 - height))
        of_image, of_row, of_column, of_channel = padded.stride()
        patches = padded.as_strided(
            (PATCH, PATCH, number, rows, columns, channels),
            (of_row, of_column, of_image, TILE * of_row, TILE * of_column, of_channel),
        ).reshape(PATCH * PATCH, -1)
        inputs_36TC = torch.mm(_square(_INPUT, padded.dtype), patches).view(PATCH * PATCH, -1, channels)
        products = torch.bmm(inputs_36TC, weight_36CK).view(PATCH * PATCH, -1)
        tiles = torch.mm(_square(_OUTPUT, padded.dtype), products)
        tiles = tiles.view(TILE, TILE, number, rows, columns, filters).permute(2, 3, 0, 4, 1, 5)
        part = out_BHWK[start : start + step]
        if (rows * TILE, columns * TILE) == (height, width):
            torch.add(tiles, bias_K, out=part.view(number, rows, TILE, columns, TILE, filters))
        else:
            whole = tiles.reshape(number, rows * TILE, columns * TILE, filters)
            torch.add(whole[:, :height, :width], bias_K, out=part)
        if relu:
            part.relu_()
    return out_BHWK.permute(0, 3, 1, 2)


def _images_a_part(weight_36CK: Tensor, num_tiles: int) -> int:
    _, channels, filters = weight_36CK.shape
    size = weight_36CK.element_size()
    budget = min(max(size * weight_36CK.numel(), SMALLEST_PART), LARGEST_PART)
    return max(1, int(budget / (size * PATCH * PATCH * num_tiles * (channels + filters))))
