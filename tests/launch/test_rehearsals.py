"""The shipped segmentation studies, rehearsed on real Ray: the same code path and layers, reduced further."""

from __future__ import annotations

from pathlib import Path

import pytest

from raprune.launch import run_study
from raprune.preflight.checks import load_and_inspect
from raprune.results import read_study
from tests.launch.runs import Watch

STUDIES = Path(__file__).resolve().parents[2] / "studies"
COMMON = ("dataset.num_val=20", "dataset.num_test=20", "scoring.batch_size=20")
SMALLER = {
    "fcn32s_drop_bounds": (*COMMON, "baseline.epochs=7"),
    "segnet_camvid": (*COMMON, "dataset.num_train=100", "dataset.size=32", "dataset.digits=1", "baseline.epochs=10"),
}
LAYERS = {"fcn32s_drop_bounds": 15, "segnet_camvid": 21}
AGENT = "sweep.method=[{name: agent, min_updates: 1, max_updates: 1, masks_per_update: 2}]"


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SMALLER])
def test_rehearsal(name: str, tmp_path: Path, ray_cluster: None) -> None:
    overrides = (*SMALLER[name], AGENT, "finetune.after_layer.steps=1", "finetune.at_end={steps: 1}")
    plan, facts = load_and_inspect(STUDIES / f"{name}.yaml", overrides, rehearse=True)
    assert plan.spec.name == f"{name}-rehearsal"
    assert len({trial.drop_bound for trial in plan.trials}) == 2
    outcome = run_study(plan, tmp_path, Watch(), num_evaluators=1)
    assert outcome.exit_code == 0, outcome.summary()
    tables = read_study(tmp_path)
    assert set(tables.trials["status"]) == {"completed"}
    assert set(tables.layers.groupby("trial_id").size()) == {LAYERS[name]}
    pruned = tables.trials[tables.trials["matched_trial_id"].isna()]
    assert (pruned["val_score_drop"] <= pruned["drop_bound"] + 1e-9).all()
    shown = {*tables.pictures["kind"]}
    assert shown <= {"improved", "stayed", "worse"}
    assert shown
    (fact,) = facts.values()
    assert (tables.trials["baseline_params"] == fact.params).all()


def test_a_study_without_a_rehearsal_says_so(tmp_path: Path) -> None:
    from raprune.errors import StudyError
    from tests.tiny import write_study

    with pytest.raises(StudyError, match="has no rehearsal block"):
        load_and_inspect(write_study(tmp_path), (), rehearse=True)
