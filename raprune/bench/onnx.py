"""A network as ONNX Runtime likes it: written as ONNX, its gathers along the channels of a channels-first layout."""

from __future__ import annotations

import copy
import importlib.util
import logging
import warnings
from pathlib import Path

import torch
from torch import Tensor, fx

from raprune.bench.backends import Unavailable, first_line
from raprune.graph import Align

PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def write_onnx(network: fx.GraphModule, batch_BCHW: Tensor, file: Path) -> None:
    """Write ``network`` for batches of the shape of ``batch_BCHW``; raises :class:`Unavailable`."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        what = f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed"
        raise Unavailable(f"onnxruntime is left out: {what}; pip install 'raprune[onnx]' brings it")
    logging.disable(logging.WARNING)  # the exporter's packages think aloud
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(_channels_first(network), (batch_BCHW,), file, dynamo=True, verbose=False)
    except Exception as error:  # whatever the exporter meets in a user's network
        why = first_line(error)
        raise Unavailable(f"onnxruntime is left out: the network cannot be exported to ONNX: {why}") from error
    finally:
        logging.disable(logging.NOTSET)


class _ChannelsFirst(torch.nn.Module):
    """What an :class:`raprune.graph.Align` gives, without its detour through channels-last, which ONNX Runtime would
    take literally: two transposes of every value."""

    index: Tensor

    def __init__(self, index: Tensor) -> None:
        super().__init__()
        self.register_buffer("index", index)

    def forward(self, values_BC: Tensor) -> Tensor:
        zeros = values_BC.new_zeros(values_BC.shape[0], 1, *values_BC.shape[2:])
        return torch.cat([values_BC, zeros], 1).index_select(1, self.index)


def _channels_first(network: fx.GraphModule) -> fx.GraphModule:
    """A copy with its gathers exchanged."""
    changed = copy.deepcopy(network)
    for name, module in list(changed.named_modules()):
        if isinstance(module, Align) and module.index.numel():
            changed.set_submodule(name, _ChannelsFirst(module.index))
    return changed
