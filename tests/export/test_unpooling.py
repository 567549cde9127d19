"""Un-pooling as a comparison is un-pooling, and stands in where an exporter refuses it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from raprune.artefact.rebuilding import standalone
from raprune.engine.inputs import Inputs
from raprune.export.contract import Format
from raprune.export.plain import first_accepted, plain
from raprune.export.refusals import Refused
from raprune.export.unpooling import UnpoolByComparison, rewritten
from raprune.registry import FORMATS
from tests.export.conftest import OwnTrial


class Pools(nn.Module):
    """Pools and un-pools; images without structure, so that windows hold equal values."""

    def __init__(self, function: bool, **pool: Any) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 1)
        self.pool = nn.MaxPool2d(return_indices=True, **pool)
        self.unpool = nn.MaxUnpool2d(self.pool.kernel_size, self.pool.stride, self.pool.padding)
        self.function = function

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.conv(images))
        pooled, places = self.pool(x)
        if self.function:
            kernel, stride, padding = self.pool.kernel_size, self.pool.stride, self.pool.padding
            return F.max_unpool2d(pooled, places, kernel, stride, padding, x.size())
        return self.unpool(pooled, places, output_size=x.size())


def traced(function: bool, **pool: Any) -> fx.GraphModule:
    torch.manual_seed(0)
    return standalone(fx.symbolic_trace(Pools(function, **pool)))


@pytest.mark.parametrize("function", [False, True])
@pytest.mark.parametrize(
    "pool",
    [{"kernel_size": 2}, {"kernel_size": 2, "ceil_mode": True}, {"kernel_size": (2, 3)}, {"kernel_size": 3}],
)  # fmt: skip
def test_a_comparison_is_un_pooling(pool: dict[str, Any], function: bool) -> None:
    network = traced(function, **pool)
    other = rewritten(network)
    assert other is not None
    assert any(isinstance(module, UnpoolByComparison) for module in other.modules())
    for images in (torch.randn(3, 2, 12, 18), torch.randn(3, 2, 11, 17).round()):
        assert torch.equal(other(images), network(images))


@pytest.mark.parametrize("pool", [{"kernel_size": 3, "stride": 2}, {"kernel_size": 3, "padding": 1}])
def test_windows_that_overlap_or_are_padded_are_left(pool: dict[str, Any]) -> None:
    assert rewritten(traced(False, **pool)) is None
    assert rewritten(traced(True, **pool)) is None


def test_without_a_size_it_is_the_windows() -> None:
    pooled, places = F.max_pool2d(torch.randn(2, 3, 6, 8), 2, return_indices=True)
    assert torch.equal(UnpoolByComparison(2, 2)(pooled, places), F.max_unpool2d(pooled, places, 2))


@pytest.mark.parametrize("format_name", ["pt2", "onnx"])
def test_it_stands_in_where_an_exporter_refuses(
    own_trial: OwnTrial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format_name: str
) -> None:
    """Both exporters of this torch take un-pooling; here they do not."""
    owner, name = (torch.export, "export") if format_name == "pt2" else (torch.onnx, "export")
    export = getattr(owner, name)

    def fussy(network: nn.Module, *arguments: Any, **options: Any) -> Any:
        if any(isinstance(part, nn.MaxUnpool2d) for part in network.modules()):
            raise ValueError("no max_unpool2d here")
        return export(network, *arguments, **options)

    monkeypatch.setattr(owner, name, fussy)
    network, file = own_trial.trial.networks["pruned"], tmp_path / "net"
    chosen: Format = FORMATS.build(format_name, {})
    note = chosen.write(network, torch.zeros(2, 1, 9, 7), own_trial.trial.plan, file)
    assert note is not None
    assert note.startswith("its un-pooling is written as comparisons, because otherwise ")
    assert note.endswith("ValueError: no max_unpool2d here")
    for size in (1, 5):
        images = torch.randn(size, 1, 9, 7)
        with torch.inference_mode():
            expected = network(images)
        assert (chosen.load(file, 1, Inputs())(images) - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_what_is_refused_for_another_reason_stays_refused(own_trial: OwnTrial) -> None:
    asked: list[fx.GraphModule] = []

    def refuse(network: fx.GraphModule) -> None:
        asked.append(network)
        raise Refused("of something else")

    with pytest.raises(Refused, match="of something else"):
        first_accepted(own_trial.trial.networks["pruned"], refuse)
    assert len(asked) == 2
    asked.clear()
    with pytest.raises(Refused):
        first_accepted(standalone(fx.symbolic_trace(nn.Sequential(nn.Conv2d(1, 1, 1)))), refuse)
    assert len(asked) == 1


def test_a_plain_network_has_nothing_of_ours(own_trial: OwnTrial) -> None:
    network = own_trial.trial.networks["pruned"]
    changed = plain(network)
    ours = {type(m).__name__ for m in changed.modules() if type(m).__module__.startswith("raprune")}
    assert ours == {"ChannelsFirst"}
    images = torch.randn(2, 1, 9, 7)
    with torch.inference_mode():
        torch.testing.assert_close(changed(images), network(images))
