"""The same gauntlet run by Torch-Pruning, a peer: where it fails, and that ours passes."""

from __future__ import annotations

import pytest

from benchmarks.surgery_gauntlet import PASSED, matrix, print_matrix


@pytest.mark.parametrize("others", [[], pytest.param(["resnet18", "torchvision mobilenet_v2"], marks=pytest.mark.slow)])
def test_matrix(capsys: pytest.CaptureFixture[str], others: list[str]) -> None:
    pytest.importorskip("torch_pruning", reason="needs torch-pruning, a dependency of the tests")
    found = matrix(["vgg16", "segnet", *others])
    print_matrix(found)
    assert all(own == PASSED for own, _ in found.values())
    assert found["vgg16"][1] == PASSED  # the harness is fair: what the peer can do, it is seen to do
    assert found["segnet"][1] != PASSED  # max-pooling indices tie encoder and decoder
    assert "Torch-Pruning" in capsys.readouterr().out
