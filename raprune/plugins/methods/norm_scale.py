"""Norm scale: filters ranked by the scale that the norm behind them gives their channel (network slimming).

Source: Liu, Li, Shen, Huang, Yan, Zhang, *Learning Efficient Convolutional Networks through Network Slimming*,
arXiv 1708.06519. Departures: the network is taken as it is, not trained with an L1 penalty on the scales;
filters are ranked within their layer, not over the network; in a group, the scales of all members are added. A layer
without a norm cannot be ranked.
"""

from __future__ import annotations

from torch import Tensor

from raprune.plugins.methods.base import Criterion
from raprune.plugins.methods.probe import Probe
from raprune.registry import METHODS, Settings


@METHODS.register("norm_scale")
class NormScale(Criterion):
    """Ranks the filters by the absolute scale (gamma) of the norm behind them."""

    needs_norm = True

    def __init__(self, settings: Settings) -> None:
        del settings

    def importance(self, probe: Probe) -> Tensor:
        """The absolute scales."""
        return probe.norm_scales()
