"""A criterion that needs norms is refused before a study where the network's layers have none."""

from __future__ import annotations

from pathlib import Path

import pytest

from raprune.errors import StudyError
from raprune.preflight.checks import load_and_inspect

PLAIN = (
    "name: x\nmodel: {name: vgg16_imagenet, width: 0.03125}\ndataset: {name: digits, num_val: 200}\ndrop_bound: 2.0\n"
)


def told(folder: Path, text: str) -> list[str]:
    file = folder / "s.yaml"
    file.write_text(text)
    with pytest.raises(StudyError) as caught:
        load_and_inspect(file)
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]


def test_layers_without_a_norm(tmp_path: Path) -> None:
    rule = "ranks filters by the norm behind them; without one: features.0, features.2, features.5 and others"
    (found,) = told(tmp_path, f"{PLAIN}method: norm_scale\n")
    assert found == f"s.yaml:5: method: norm_scale {rule}; take another criterion, or other layers"
    (found,) = told(tmp_path, f"{PLAIN}method: {{name: agent, prior: norm_scale}}\nlayers: [features.0]\n")
    assert found.startswith("s.yaml:5: method.prior: norm_scale ranks filters by the norm behind them; without one: f")


def test_layers_with_a_norm_and_other_criteria(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    for text in (f"{PLAIN}method: taylor\n", f"{PLAIN}method: norm_scale\n".replace("_imagenet", "")):
        file.write_text(text)
        plan, facts = load_and_inspect(file)
        assert len(plan.trials) == len(facts) == 1
