"""``fidelity: {precision: bfloat16}`` scores candidates in half precision, and changes nothing else."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.engine.test_fidelities import BASE, approximate, some_mask
from tests.tiny import Trained, engine_of

OTHERS = [{"val_images": 60}, {"racing": 3.0}]


@pytest.mark.parametrize(
    "kind", [{}, {"finetune": "recalibrate"}, *(pytest.param(kind, marks=pytest.mark.slow) for kind in OTHERS)]
)
def test_half_precision_scores_candidates_and_nothing_else(trained: Trained, kind: dict[str, Any]) -> None:
    full, layer = engine_of(trained.network, trained.splits), "features.10"
    engine, single = approximate(full, precision="bfloat16", **kind), approximate(full, **kind)
    seen: list[torch.dtype] = []
    counts = engine.score.counts

    def counted(logits: Tensor, labels: Tensor) -> Tensor:
        seen.append(logits.dtype)
        return counts(logits, labels)

    mask = some_mask(full.graph.group(layer).num_filters, 0.9)
    kept = engine._crossing
    values: list[Tensor] = []

    def crossing(*of: Any) -> Any:
        found = kept(*of)
        values.extend(value for value in found if isinstance(value, Tensor))
        return found

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(engine.score, "counts", counted)
        patched.setattr(engine, "_crossing", crossing)
        half = engine.evaluate(BASE, layer, mask, None)
    assert {value.dtype for value in values} == {torch.bfloat16}
    assert set(seen) == {torch.float32}
    exact = single.evaluate(BASE, layer, mask, None)
    assert half.score is not None
    assert exact.score is not None
    assert half.score == pytest.approx(exact.score, abs=3.0)
    assert engine.evaluate(BASE, layer, mask, None).tally == half.tally  # from what was kept
    assert engine.candidate(BASE, layer, mask).version == single.candidate(BASE, layer, mask).version
    assert engine.measure(BASE, "val") == full.measure(BASE, "val")
    assert not torch.is_autocast_enabled("cpu")
