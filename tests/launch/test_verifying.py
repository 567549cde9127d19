"""A study's tables are confirmed where they are true, and every kind of edited value is found."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from raprune.console.verification import verdict, verification_lines
from raprune.engine.inputs import Inputs
from raprune.launch.verifying import ENGINES, EQUAL, REFUTED, ROUNDING, Part, Verified, verify
from raprune.launch.verifying.judging import Judge
from raprune.network.state import ALL_LAYERS, State
from raprune.preflight.without_import import load_allowed
from raprune.results import PROVISIONAL, read_manifest, read_study
from raprune.results.files import read_table, write_parquet
from raprune.trial.guard import Guard, Seen
from raprune.trial.replay import Checked, Difference, Replay
from tests.fuzz.small import STUDY as SMALL
from tests.launch.runs import begin, run_tiny
from tests.short import IMPORT

HEAD = f"""
name: tiny
model: {{import: '{IMPORT}'}}
dataset: {{name: digits, num_val: 100, num_test: 100}}
baseline: {{epochs: 1, learning_rate: 0.02, batch_size: 32}}
layers: [features.37, features.40]
scoring: {{batch_size: 50}}
order: low_to_high
drop_bound: 30.0
"""
EVERYTHING = f"""{HEAD.replace("30.0", "80.0")}
finetune: {{before_reward: {{steps: 1}}, after_layer: {{steps: 2}}, at_end: {{steps: 2}}}}
candidates_per_layer: 4
warranty: 0.6
credit: 5.0
postprocess:
  joint: {{candidates: 6, proposals: 3}}
  low_rank: {{layers: [classifier.0], schemes: [svd], rank: 3, finetune: true}}
sweep:
  method: [taylor, {{name: random, match: taylor}}]
"""
WARRANTED = f"""{HEAD.replace("30.0", "20.0")}
finetune: {{after_layer: {{steps: 2}}}}
candidates_per_layer: 24
warranty: 0.6
credit: 20.0
method: agent
decision: search
"""
RECALIBRATED = f"""{HEAD}
finetune: {{after_layer: {{steps: 2}}}}
candidates_per_layer: 4
fidelity: {{finetune: recalibrate, recalibration_batches: 2, val_images: 40}}
method: magnitude
"""


def verified(out: Path, share: float = 1.0, *trial_ids: str) -> Verified:
    manifest = read_manifest(out)
    with Inputs() as inputs:
        plan = load_allowed(out / "study.yaml", (IMPORT,), inputs)
        return verify(plan, out, manifest, Part(trial_ids or manifest["trial_ids"], share), inputs=inputs)


def edit(file: Path, table: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Rewrite the rows of a table, as somebody with a notebook would."""
    found = read_table(file, table, file.parent.name)
    rows = found.to_pylist()
    for row in rows:
        change(row)
    write_parquet(file, found.from_pylist(rows, schema=found.schema))


def told(found: Verified, out: Path) -> str:
    return "\n".join(verification_lines(found, read_manifest(out)))


@pytest.fixture
def copy(small_study: tuple[Path, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_study[1], tmp_path / "copy"))


def test_a_finished_study_is_confirmed_and_not_touched(small_study: tuple[Path, Path]) -> None:
    done = small_study[1]
    before = {file: file.stat().st_mtime_ns for file in done.rglob("*")}
    found = verified(done, 0.11)
    assert {file: file.stat().st_mtime_ns for file in done.rglob("*")} == before
    num_candidates = len(read_study(done).candidates)
    assert found.num_candidates == num_candidates
    assert found.number("candidate") == -(-num_candidates * 11 // 100)
    assert (found.number("layer"), found.number("network"), found.number("baseline")) == (4, 2, 1)
    assert {judgement for _, judgement in found.counts} == {EQUAL}
    assert (found.num_same_weights, found.is_refuted) == (2, False)
    assert verdict(found).startswith("confirmed: ")
    assert verdict(found).endswith("; all equal")


def test_every_step_of_a_trial_is_replayed(small_study: tuple[Path, Path], tmp_path: Path) -> None:
    """Fine-tunes before the reward, guard, warranty, credit, joint passes, low rank, a matched trial."""
    outcome, out = run_tiny(begin(small_study[1], tmp_path), 0, text=EVERYTHING)
    assert outcome.exit_code == 0
    tables = read_study(out)
    assert tables.low_rank["applied"].any()
    assert (tables.joint["num_kept"] < tables.joint["num_kept_before"]).any()
    found = verified(out, 0.6)
    assert not found.is_refuted, told(found, out)
    assert found.num_candidates == len(tables.candidates)
    assert found.number("layer", EQUAL) == len(tables.layers)
    assert found.number("joint pass", EQUAL) == len(tables.joint)
    assert found.number("low-rank layer", EQUAL) == len(tables.low_rank)
    assert found.number("network", EQUAL) == 2


def test_what_the_guard_refused_is_known_after_a_kill(
    small_study: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A warranty's later margins hang on it: of three looks in the first layer one is a refusal, one was superseded."""
    looks, look = [], Guard.look

    def refuses_second(self: Guard, state: State, drop_bound: float, held_back: float = 0.0) -> Seen:
        looks.append(self)
        seen = look(self, state, drop_bound, held_back)
        return replace(seen, most=seen.counted + (-1.0 if len(looks) == 2 else 1.0))

    with monkeypatch.context() as patched:
        patched.setattr(Guard, "look", refuses_second)
        outcome, out = run_tiny(begin(small_study[1], tmp_path), 0, text=WARRANTED)
    assert outcome.exit_code == 0
    layers = read_study(out).layers
    assert (layers["num_guard_looks"].iloc[0], list(layers["num_guard_refused"])) == (3, [1, 0])
    rows = layers.to_dict("records")
    assert Guard.resumed(looks[-1].evaluator, 70, 0.6, rows).num_refused == looks[-1].num_refused == 1
    found = verified(out)
    assert not found.is_refuted, told(found, out)


def test_a_fidelity_is_scored_as_recorded_and_named(small_study: tuple[Path, Path], tmp_path: Path) -> None:
    outcome, out = run_tiny(begin(small_study[1], tmp_path), 0, text=RECALIBRATED)
    assert outcome.exit_code == 0
    found = verified(out)
    assert {judgement for _, judgement in found.counts} == {EQUAL}, told(found, out)
    assert found.number("candidate") > 4
    assert "recalibrate=2 batches, 40 val images were scored by the study's own engine" in told(found, out)


def test_a_trial_that_a_budget_stopped_is_replayed_as_far_as_it_went(
    small_study: tuple[Path, Path], tmp_path: Path
) -> None:
    _, out = run_tiny(begin(small_study[1], tmp_path), 0, "budget.candidates=8", text=SMALL)
    assert list(out.rglob(f"layers-{PROVISIONAL}.parquet"))
    found = verified(out)
    assert not found.is_refuted, told(found, out)
    assert (found.number("network"), found.number("layer")) == (1, len(read_study(out).layers))
    assert "1 of 2 trials: no layer of them is decided" in found.unchecked


def scores_more(column: str, points: float) -> Callable[[dict[str, Any]], None]:
    """Where there is a score: there is none of what was given up."""
    return lambda row: row.update({column: row[column] and row[column] + points})


EDITS = [
    ("candidates-0", "candidates", scores_more("score", 1.0), r"candidate \d+ of features\.40: score"),
    ("candidates-1", "candidates", scores_more("reward", 0.01), r"candidate \d+ of features\.37: reward"),
    ("layers-0", "layers", scores_more("guard_score", 1.0), "features.40 as committed: guard_score"),
    ("layers-1", "layers", scores_more("cut_val_score", 1.0), "features.37 as committed: cut_val_score"),
    ("trial", "trial", scores_more("test_score", 1.0), "the network at the end: test_score"),
]


def test_every_edited_value_is_found(copy: Path) -> None:
    """Scores of one trial, and a keep mask of the other: it keeps as many filters, so that only scores tell.

    What follows from that mask may by chance differ by no more than rounding does.
    """
    edited, other = read_manifest(copy)["trial_ids"]
    for name, table, change, _ in EDITS:
        edit(copy / "trials" / edited / f"{name}.parquet", table, change)
    file = copy / "trials" / other / "layers-0.parquet"
    edit(file, "layers", lambda row: row.update(keep_mask=row["keep_mask"][::-1]))
    found = verified(copy, 0.1)
    lines = told(found, copy)
    assert {finding.judgement for finding in found.findings if finding.trial_id == edited} == {REFUTED}
    assert found.number("candidate") == -(-found.num_candidates // 10)
    num_joint = (read_study(copy).candidates["layer"] == ALL_LAYERS).sum()  # not edited
    assert 0 < found.number("candidate") - found.number("candidate", REFUTED) <= num_joint
    assert [place for *_, place in EDITS if not re.search(f"  trial {edited}, {place} recorded ", lines)] == []
    (state,) = (copy / "trials" / other / "state").glob("*.json")
    places = [(f.place, f.judgement) for f in found.findings if f.trial_id == other]
    assert (f"state/{state.name}", REFUTED) in places
    assert (found.num_same_weights, found.num_other_weights) == (1, 1)
    assert verdict(found).startswith("refuted: ")
    refuted = [finding for finding in found.findings if finding.judgement == REFUTED]
    assert f"; {len(refuted)} not as recorded, " in verdict(found)


def test_rows_that_cannot_be_replayed_end_the_replay_with_a_reason(copy: Path) -> None:
    trial_id = read_manifest(copy)["trial_ids"][1]
    edit(copy / "trials" / trial_id / "layers-1.parquet", "layers", lambda row: row.update(layer="features.40"))
    found = verified(copy, 0.0, trial_id)
    assert [finding.judgement for finding in found.findings] == [REFUTED]
    assert "features.40 is no layer of its network, or is decided twice" in told(found, copy)


def test_an_edited_baseline_is_found() -> None:
    evaluator = SimpleNamespace(run=lambda task, state: {"val": 97.5, "test": 96.0}[task.split])
    baseline = SimpleNamespace(key="b", val_score=97.5, test_score=99.0)
    context: Any = SimpleNamespace(baseline=baseline, evaluator=evaluator)
    checked = Judge(*[cast(Any, None)] * 2, context, {}, {})._baseline()
    assert checked == Checked("baseline", "the scores of baseline b", (Difference("test_score", 99.0, 96.0),))


def judge(standard_error: float | None, unit: str = "percent") -> Judge:
    """With 200 validation images, 50 for the guard and 100 of test."""
    splits = SimpleNamespace(val=range(200), guard=range(50), test=range(100))
    here: Any = SimpleNamespace(inputs=SimpleNamespace(data=lambda _: splits))
    trial: Any = SimpleNamespace(trial_id="t", data=None)
    context: Any = SimpleNamespace(baseline=SimpleNamespace(standard_error=standard_error, score_unit=unit))
    return Judge(here, trial, context, {}, {})


@pytest.mark.parametrize(
    ("own", "is_other", "images", "judgement"),
    [
        (None, False, 1, REFUTED),
        (None, True, 1, ROUNDING),
        (None, True, 2, ROUNDING),
        (None, True, 9, REFUTED),
        (Checked("layer", "x"), False, 1, ENGINES),
        (Checked("layer", "x", (Difference("score", 1.0, 2.0),)), False, 1, REFUTED),
    ],
)
def test_rounding_is_told_from_what_is_wrong(own: Checked | None, is_other: bool, images: int, judgement: str) -> None:
    found = Verified(0)
    one = Checked("layer", "x", (Difference("score", 90.0, 90 - images / 2), Difference("reward", 1.0, 0.9)))
    judge(None)._add(one, own, is_other, found)
    assert found.counts == {("layer", judgement): 1}
    assert found.findings[0].images == images
    assert found.is_refuted == (judgement == REFUTED)
    assert verdict(found).startswith(
        {REFUTED: "refuted", ROUNDING: "confirmed within rounding"}.get(judgement, "confirmed:")
    )


def test_what_is_no_score_is_never_rounding() -> None:
    for differences in ((Difference("score", 90.0, 90.5), Difference("macs", 7, 8)), (Difference("reward", 1.0, 0.9),)):
        found = Verified(0)
        judge(3.0)._add(Checked("layer", "x", differences), None, True, found)
        assert found.is_refuted


@pytest.mark.parametrize(
    ("column", "size", "unit", "standard_error", "judgement"),
    [
        ("guard_score", 4.0, "percent", None, ROUNDING),  # two of 50 images
        ("guard_score", 6.0, "percent", None, REFUTED),
        ("test_score", 2.0, "percent", None, ROUNDING),
        ("val_score", 2.0, "percent", None, REFUTED),
        ("val_score", 2.0, "percent", 2.5, ROUNDING),
        ("val_score", 0.005, "dB", None, ROUNDING),
        ("val_score", 0.5, "dB", None, REFUTED),
    ],
)
def test_rounding_is_measured_in_images_of_the_split(
    column: str, size: float, unit: str, standard_error: float | None, judgement: str
) -> None:
    found = Verified(0)
    checked = Checked("network", "x", (Difference(column, 50.0, 50.0 + size),))
    judge(standard_error, unit)._add(checked, None, True, found)
    assert [finding.judgement for finding in found.findings] == [judgement]


@pytest.mark.parametrize(("is_older", "differing"), [(True, ["macs"]), (False, ["macs", "guard_score"])])
def test_tables_of_an_older_schema_may_lack_columns(is_older: bool, differing: list[str]) -> None:
    replay = object.__new__(Replay)
    replay.is_older = is_older
    recorded = {"macs": 7, "guard_score": None, "wall_time_s": 1.0, "pruned_val_score": 0.1 + 0.2}
    now = {"macs": 8, "guard_score": 97.0, "wall_time_s": 2.0, "pruned_val_score": 0.3}
    assert [found.column for found in replay._differing("layers", recorded, now)] == differing
