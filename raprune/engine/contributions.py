"""What each channel contributes to sampled responses of a layer that reads it.

A response is one output channel at one position of one image, without its bias, drawn uniformly. Channels that go into
a sum are responses themselves: there, one row per channel stands for the samples, with their root mean square. A
transposed convolution adds up several positions; a sample is what one position gives to one entry of the window.

Legend: B images, S samples, C channels read, D of them in a group of the convolution, O outputs, K the window.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def sampled(reader: nn.Module | None, value: Tensor, per_image: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Contributions of a batch, (S, C), and the L2 norms of the weights that read each channel, (C,); float64, CPU."""
    images_S = torch.arange(len(value)).repeat_interleave(per_image)
    if isinstance(reader, nn.Conv2d):
        values_SC, weight_COK = _convolution(reader, value, images_S, rng), _reading(reader)
    elif isinstance(reader, nn.ConvTranspose2d) and reader.groups == 1:
        values_SC, weight_COK = _transposed(reader, value, images_S, rng), reader.weight
    elif isinstance(reader, nn.Linear):
        chosen_S = _draw(rng, len(images_S), reader.out_features)
        values_SC, weight_COK = value[images_S] * reader.weight[chosen_S], reader.weight.T
    else:
        power_C = value.transpose(0, 1).flatten(1).square().mean(1) * len(images_S) / value.shape[1]
        values_SC, weight_COK = power_C.sqrt().diag(), torch.ones(value.shape[1], 1)
    return values_SC.double().cpu(), weight_COK.double().cpu().flatten(1).norm(dim=1)


def _draw(rng: torch.Generator, number: int, below: int) -> Tensor:
    return torch.randint(below, (number,), generator=rng)


def windows(conv: nn.Conv2d, value: Tensor, per_image: int, rng: torch.Generator) -> Tensor:
    """(S, C, kernel height, kernel width): what an ungrouped convolution reads at sampled positions of a batch."""
    images_S = torch.arange(len(value)).repeat_interleave(per_image)
    padded, rows_SH, columns_SW = _positions(conv, value, len(images_S), rng)
    channels_C11 = torch.arange(value.shape[1])[:, None, None]
    return padded[images_S[:, None, None, None], channels_C11, rows_SH[:, None, :, None], columns_SW[:, None, None]]


def _positions(conv: nn.Conv2d, value: Tensor, number: int, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """The padded value, and the rows and columns of sampled windows in it."""
    mode = "constant" if conv.padding_mode == "zeros" else conv.padding_mode
    padded = F.pad(value, conv._reversed_padding_repeated_twice, mode)
    rows_SH, columns_SW = (
        _draw(rng, number, (size - d * (k - 1) - 1) // stride + 1)[:, None] * stride + torch.arange(k) * d
        for size, k, stride, d in zip(padded.shape[2:], conv.kernel_size, conv.stride, conv.dilation, strict=True)
    )
    return padded, rows_SH, columns_SW


def _convolution(conv: nn.Conv2d, value: Tensor, images_S: Tensor, rng: torch.Generator) -> Tensor:
    padded, rows_SH, columns_SW = _positions(conv, value, len(images_S), rng)
    outputs_S = _draw(rng, len(images_S), conv.out_channels)
    width = conv.in_channels // conv.groups
    channels_SD = (outputs_S // (conv.out_channels // conv.groups) * width)[:, None] + torch.arange(width)
    rows_S1H1, columns_S11W = rows_SH[:, None, :, None], columns_SW[:, None, None]
    patches_SDHW = padded[images_S[:, None, None, None], channels_SD[:, :, None, None], rows_S1H1, columns_S11W]
    values_SD = (patches_SDHW * conv.weight[outputs_S]).sum((2, 3))
    return values_SD.new_zeros(len(images_S), conv.in_channels).scatter_(1, channels_SD.to(value.device), values_SD)


def _reading(conv: nn.Conv2d) -> Tensor:
    """(C, O, K): the weights of a convolution by the channel that they read."""
    groups, width = conv.groups, conv.in_channels // conv.groups
    weight_GODK = conv.weight.reshape(groups, conv.out_channels // groups, width, -1)
    return weight_GODK.transpose(1, 2).flatten(0, 1)


def _transposed(conv: nn.ConvTranspose2d, value: Tensor, images_S: Tensor, rng: torch.Generator) -> Tensor:
    rows_S, columns_S, outputs_S, heights_S, widths_S = (
        _draw(rng, len(images_S), size) for size in (*value.shape[2:], *conv.weight.shape[1:])
    )
    read_CS = conv.weight[:, outputs_S, heights_S, widths_S]
    return value[images_S, :, rows_S, columns_S] * read_CS.T
