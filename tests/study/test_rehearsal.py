"""``--rehearse``: the block is laid over the study, and says where its own values are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from raprune.errors import StudyError
from raprune.study import StudyPlan, load_study
from raprune.study.overrides import overridden
from raprune.study.rehearsal import rehearsed

from .texts import parse, refused_by_schema

TEXT = """
name: mine
description: Mine.
model: {name: vgg16, width: 0.5}
dataset: {name: image_parquet, train: nowhere.parquet}
drop_bound: 2.0
baseline: {epochs: 7, batch_size: 32}
finetune: {before_reward: {epochs: 1}}
sweep:
  seed: [0, 1, 2]
  order: [low_to_high, by_sensitivity]
rehearsal:
  model: {width: 0.125}
  dataset: {name: digits, num_val: 200, num_test: 200}
  baseline: {epochs: 2}
  finetune: {before_reward: {steps: 3}}
  sweep:
    seed: [0]
"""


def load(folder: Path, text: str = TEXT, rehearse: bool = True) -> StudyPlan:
    file = folder / "mine.yaml"
    file.write_text(text)
    plan = load_study(file, rehearse=rehearse)
    assert refused_by_schema(plan.document.data) == []
    return plan


def test_the_block_lies_over_the_study(tmp_path: Path) -> None:
    plan = load(tmp_path)
    assert plan.spec.name == "mine-rehearsal"
    assert {trial.seed for trial in plan.trials} == {0}
    assert {trial.order.name for trial in plan.trials} == {"low_to_high", "by_sensitivity"}
    trial = plan.trials[0]
    assert trial.model.settings["width"] == 0.125
    assert (trial.dataset.name, trial.dataset.settings["num_val"]) == ("digits", 200)
    assert (trial.baseline.epochs, trial.baseline.batch_size) == (2, 32)
    assert (trial.finetune.before_reward.steps, trial.finetune.before_reward.epochs) == (3, None)
    assert "rehearsal:" not in plan.text
    assert plan.spec.description == "A rehearsal, at small scale and perhaps on other data, of: Mine."
    assert plan.document.rehearses == "mine"
    nameless = load(tmp_path, TEXT.replace("description: Mine.\n", ""))
    assert nameless.spec.description == "A rehearsal, at small scale and perhaps on other data, of: mine"


def test_without_the_flag_it_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StudyError) as caught:
        load(tmp_path, rehearse=False)
    message = str(caught.value)
    assert "mine.yaml:5: dataset.train: no such file" in message
    assert "to continue, run one of:" in message
    assert f"raprune study {tmp_path / 'mine.yaml'} --rehearse" in message


def test_a_value_takes_an_axis_out_of_the_sweep(tmp_path: Path) -> None:
    plan = load(tmp_path, TEXT.replace("  sweep:\n    seed: [0]", "  order: high_to_low"))
    assert {trial.order.name for trial in plan.trials} == {"high_to_low"}


def test_an_axis_of_the_block_stays_beside_what_the_block_sets(tmp_path: Path) -> None:
    block = "  sweep: {baseline.seed: [3, 4], seed: [0]}\n  dataset: digits\n  baseline: {epochs: 2}\n"
    plan = load(tmp_path, TEXT[: TEXT.index("  model: {width: 0.125}")] + block)
    assert {(trial.baseline.seed, trial.baseline.epochs) for trial in plan.trials} == {(3, 2), (4, 2)}


def test_each_step_makes_another_document() -> None:
    document = parse(TEXT)
    small = rehearsed(document, wanted=True)
    assert overridden(small, ["seed=3", "typo", "sweep={}"]).data["seed"] == 3
    assert (document, small) == (parse(TEXT), rehearsed(parse(TEXT), wanted=True))


def test_what_is_wrong_in_the_block_is_told_at_its_line(tmp_path: Path) -> None:
    with pytest.raises(StudyError) as caught:
        load(tmp_path, TEXT.replace("baseline: {epochs: 2}", "baseline: {epochs: 0}"))
    assert "mine.yaml:15: baseline.epochs" in str(caught.value)
    with pytest.raises(StudyError, match="rehearsal: must be a mapping"):
        load(tmp_path, TEXT[: TEXT.index("rehearsal:")] + "rehearsal: small\n")


def test_tracing_and_imports(tmp_path: Path) -> None:
    base = TEXT[: TEXT.index("rehearsal:")].replace("{name: image_parquet, train: nowhere.parquet}", "digits")
    own = base.replace("{name: vgg16, width: 0.5}", "{import: 'torchvision.models:resnet18', whole: [fc], output: out}")
    model = load(tmp_path, own, rehearse=False).trials[0].model
    assert (model.name, model.settings, model.whole, model.output) == ("torchvision.models:resnet18", {}, ["fc"], "out")
    for wrong, said in (
        ("{import: nowhere}", "must be package.module:function"),
        ("{import: 'no.such:thing'}", "cannot be imported: ModuleNotFoundError"),
        ("{import: 'torchvision.models:resnet81'}", "torchvision.models has no 'resnet81'; did you mean 'resnet18'?"),
        ("{name: vgg16, import: 'a.b:c'}", "must not stand beside name"),
        ("'a.b:c'", "must be a known name; to use your own, write {import: a.b:c}"),
    ):
        with pytest.raises(StudyError) as caught:
            load(tmp_path, base.replace("{name: vgg16, width: 0.5}", wrong), rehearse=False)
        assert said in str(caught.value)
    with pytest.raises(StudyError, match="a method is named, not imported"):
        load(tmp_path, base + "method: {import: 'a.b:c'}\n", rehearse=False)
