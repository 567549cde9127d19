"""Named precisions: ``fidelity: {precision: tf32}`` and ``model: {precision: float64}``, and where they are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from raprune.engine.approximate import ApproximateEngine
from raprune.engine.arithmetic import check_precisions
from raprune.engine.float32 import tf32
from raprune.engine.inputs import Inputs
from raprune.errors import InputError, StudyError
from raprune.registry import MODELS
from raprune.study import ModelChoice, load_study
from raprune.study.fidelity import FidelitySpec
from tests.engine.test_fidelities import BASE, small, some_mask, spec
from tests.tiny import STUDY, write_study


def flags() -> tuple[bool, bool]:
    return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32


def test_tf32_is_on_in_its_block_alone() -> None:
    before = flags()
    with tf32():
        assert flags() == (True, True)
    assert flags() == before


@pytest.mark.parametrize("finetune", ["full", "suffix", "recalibrate"])
def test_candidates_alone_are_computed_in_tf32(finetune: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a processor the flags change nothing, so the scores are those in full precision; what matters is when."""
    monkeypatch.setattr("raprune.engine.approximate.check_precisions", lambda *of: None)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    full, layer = small(2), "features.10"
    engine, single = (
        ApproximateEngine(replace(full.workload, fidelity=FidelitySpec.model_validate({"finetune": finetune, **of})))
        for of in ({"precision": "tf32"}, {})
    )
    seen: list[tuple[bool, bool]] = []
    loss, counts = engine.score.loss, engine.score.counts
    monkeypatch.setattr(engine.score, "loss", lambda *of: (seen.append(flags()), loss(*of))[1])
    mask = some_mask(full.graph.group(layer).num_filters)
    with monkeypatch.context() as patched:
        patched.setattr(engine.score, "counts", lambda *of: (seen.append(flags()), counts(*of))[1])
        found = engine.evaluate(BASE, layer, mask, None)
    assert seen
    assert set(seen) == {(True, True)}
    assert found.tally == single.evaluate(BASE, layer, mask, None).tally
    seen.clear()
    if finetune != "recalibrate":
        assert engine.candidate(BASE, layer, mask).version == single.candidate(BASE, layer, mask).version
        assert set(seen) == {(False, False)}
    assert not flags()[0]


def test_tf32_is_refused_where_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = "tf32 needs an NVIDIA GPU of compute capability 8 or above"
    with pytest.raises(InputError, match=f"{refused}; candidates would be scored on the processor: use full or"):
        check_precisions({"full", "tf32"}, "cpu")
    with pytest.raises(InputError, match=refused):
        ApproximateEngine(replace(small().workload, fidelity=FidelitySpec(precision="tf32")))
    with pytest.raises(StudyError, match=r"must be cuda or auto where fidelity\.precision is tf32; got cpu"):
        load_study(write_study(tmp_path, STUDY + "fidelity: {precision: tf32}\nevaluators: {device: cpu}\n"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla T4")
    for capability, device in (((7, 5), "cuda:1"), ((8, 0), "cuda")):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, of=capability: of)
        if capability < (8, 0):
            with pytest.raises(InputError, match="scored on Tesla T4"):
                check_precisions({"tf32"}, device)
        else:
            check_precisions({"tf32"}, device)
    check_precisions({"full", "bfloat16", "float64", None}, "cpu")
    with pytest.raises(InputError, match="float64 is not for Apple's GPUs"):
        check_precisions({"full", "float64"}, "mps")


def test_a_networks_own_precision_is_named() -> None:
    wide = spec().model_copy(update={"model": ModelChoice(name="x", precision="float64")})
    assert wide.fidelity_name == "finetune=20 steps, float64"
    assert wide.trial_id != spec().trial_id
    assert wide.baseline_key != spec().baseline_key
    assert "precision" not in ModelChoice(name="x").model_dump()
    choice = ModelChoice(name="vgg16", settings=MODELS.get("vgg16").settings(width=0.0625).model_dump())
    for precision, expected in ((None, torch.float32), ("float64", torch.float64), ("float32", torch.float32)):
        network = Inputs().network(choice.model_copy(update={"precision": precision}), 10, (3, 32, 32))
        assert {t.dtype for t in network.state_dict().values() if t.is_floating_point()} == {expected}
