"""An evaluator behind the memo: the same scores to the last bit, and nothing scored twice."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from raprune.baseline.prepare import prepare_baseline
from raprune.engine import Engine
from raprune.engine.inputs import Inputs
from raprune.engine.workload import BASELINE_FILE, Baseline
from raprune.errors import InputError
from raprune.evaluators.base import EvaluatedMask, PoolAddress
from raprune.evaluators.engines import Engines
from raprune.evaluators.memo import Conditions, Keeping, Memo, Memoised
from raprune.evaluators.memo.store import SUFFIX
from raprune.launch.execute import Place
from raprune.network.masks import KeepMask
from raprune.network.state import State
from raprune.plugins.scores.base import Tally
from raprune.results import Tables, read_study, write_json
from raprune.study import load_study
from raprune.study.parts import EvaluatorsSpec
from tests.evaluators.test_memo import CONDITIONS
from tests.fuzz.small import STUDY as SMALL
from tests.launch.runs import assert_same_rows, begin, run_tiny
from tests.tiny import EngineEvaluator, Trained, candidates_of, engine_of, write_study

LAYER = "features.14"
STATE = State.baseline("baseline")


class Counting(EngineEvaluator):
    """Notes how many masks it is asked for."""

    asked = 0

    def evaluate(
        self,
        state: State,
        layer: str,
        masks: Sequence[KeepMask],
        lowest: float | None,
        starts: Sequence[Tally | None] | None = None,
    ) -> list[EvaluatedMask]:
        self.asked += len(masks)
        return super().evaluate(state, layer, masks, lowest, starts)


def masks(number: int, num_filters: int = 16) -> list[KeepMask]:
    found = torch.rand(number, num_filters, generator=torch.Generator().manual_seed(3)) < 0.8
    found[:, 0] = True
    return [KeepMask.of(mask) for mask in found]


@functools.cache
def engine_on(trained: Trained, before_reward: int) -> Engine:
    """One for all tests: what is known from before is in the memo alone."""
    return engine_of(trained.network, trained.splits, before_reward)


def memoised(trained: Trained, folder: Path, before_reward: int = 0) -> tuple[Memoised, Counting]:
    inner = Counting(engine_on(trained, before_reward))
    memo = Memo(folder)
    return Memoised(Keeping(inner, memo, CONDITIONS), memo, CONDITIONS), inner


@pytest.mark.parametrize("before_reward", [0, 2])
def test_an_early_exit_is_gone_on_with(before_reward: int, trained: Trained, tmp_path: Path) -> None:
    """Bounds from tight to loose, each in a new process so to say: every image is seen once, and no bit differs."""
    some = masks(4)
    inner = memoised(trained, tmp_path, before_reward)[1]
    at_once = [e.scored for e in inner.evaluate(STATE, LAYER, some, None)]
    seen = [0] * len(some)
    for lowest in (99.0, 95.0, 80.0, None):
        ours, counting = memoised(trained, tmp_path, before_reward)
        found = ours.evaluate(STATE, LAYER, some, lowest)
        seen = [number + e.scored.images_scored for number, e in zip(seen, found, strict=True)]
        for evaluated, whole in zip(found, at_once, strict=True):
            assert whole.score is not None
            below = lowest is not None and whole.score < lowest
            assert evaluated.scored.score == (None if below else whole.score)
        again = ours.evaluate(STATE, LAYER, some, lowest)
        assert [e.scored.score for e in again] == [e.scored.score for e in found]
        assert all(e.from_memo and e.scored.images_scored == 0 and e.evaluator == "memo" for e in again)
        assert counting.asked == sum(not e.from_memo for e in found)
        if lowest == 99.0:
            assert 0 < min(seen) < len(trained.splits.val)
    assert seen == [len(trained.splits.val)] * len(some)
    assert [e.scored.tally for e in found] == [scored.tally for scored in at_once]


def test_what_the_caller_knows_is_used(trained: Trained, tmp_path: Path) -> None:
    ours, inner = memoised(trained, tmp_path)
    (whole,) = inner.evaluate(STATE, LAYER, masks(1), None)
    (found,) = ours.evaluate(STATE, LAYER, masks(1), None, [whole.scored.tally])
    assert found.from_memo
    assert found.scored.score == whole.scored.score


def test_candidates_count_what_was_scored(trained: Trained, tmp_path: Path) -> None:
    """In one call, in the same layer, and for another bound; without the memo every mask is scored each time."""
    one, two = (mask.tensor for mask in masks(2))
    for folder, expected in (("with", [2, 0, 0, 0]), (None, [3, 1, 3, 1])):
        told: list[dict[str, Any]] = []
        for bound in (5.0, 6.0):
            ours, inner = memoised(trained, tmp_path / str(folder))
            candidates = candidates_of(inner.engine, LAYER, bound, floor="none")
            candidates.evaluator = ours if folder else inner
            candidates.progress = told.append
            first = candidates([one, one, two], policy_entropy=0.5)
            assert candidates([two])[0] == first[2]
            assert first[0] == first[1]
            assert inner.asked == sum(not row["from_memo"] for row in candidates.rows)
        assert [progress["new_scored"] for progress in told] == expected


def test_what_was_scored_before_a_death_is_kept(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that dies in the middle of a request loses the mask that it scores, and no other."""
    ours, inner = memoised(trained, tmp_path)
    score = inner.engine.evaluate

    def die_at_the_third(state: State, layer: str, mask: KeepMask, *rest: Any) -> Any:
        if mask == masks(4)[2]:
            raise Death
        return score(state, layer, mask, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(inner.engine, "evaluate", die_at_the_third)
        with pytest.raises(Death):
            ours.evaluate(STATE, LAYER, masks(4), None)
    again, counting = memoised(trained, tmp_path)
    found = again.evaluate(STATE, LAYER, masks(4), None)
    assert [e.from_memo for e in found] == [True, True, False, False]
    assert counting.asked == 2


class Death(BaseException):
    """Instead of a SIGKILL."""


@pytest.fixture(scope="module")
def tables(reference: Path) -> Tables:
    return read_study(reference)


def test_a_second_bound_scores_fewer(tables: Tables, reference: Path) -> None:
    frame = tables.candidates.assign(mask=tables.candidates["keep_mask"].map(tuple))
    frame = frame.merge(tables.trials[["trial_id", "method", "drop_bound"]], on="trial_id")
    frame = frame[frame["method"] == "agent"]
    repeated = frame.duplicated(["trial_id", "layer", "mask"])
    assert frame.loc[repeated, "from_memo"].all()
    tight, loose = (frame[~repeated & (frame["drop_bound"] == bound)] for bound in (2.0, 8.0))
    assert not tight["from_memo"].any()
    assert loose["from_memo"].any()
    resumed = ~loose["from_memo"] & loose["score"].notna() & (loose["images_scored"] < 200)
    assert resumed.any()
    assert len(list((reference / "memo").glob(f"*{SUFFIX}"))) == 1
    scored = frame[~frame["from_memo"]].groupby("trial_id").size().sort_index()
    counted = tables.trials.set_index("trial_id")["num_scored"].loc[scored.index]
    assert scored.tolist() == counted.tolist()


def copied(reference: Path, folder: Path, *names: str) -> None:
    for name in names:
        shutil.copytree(reference / name, folder / "out" / name)


def test_a_study_run_again_with_its_memo_scores_nothing(small_study: tuple[Path, Path], tmp_path: Path) -> None:
    done = small_study[1]
    outcome, out = run_tiny(begin(done, tmp_path), 0, text=SMALL)
    assert outcome.exit_code == 0
    assert_same_rows(done, out)
    candidates = read_study(out).candidates
    assert candidates["from_memo"].all()
    assert candidates["images_scored"].sum() == 0
    assert (read_study(out).trials["num_scored"] == 0).all()
    assert [f.name for f in (out / "memo").iterdir()] == [f.name for f in (done / "memo").iterdir()]


def test_an_evaluator_writes_what_it_scores(reference: Path, tmp_path: Path) -> None:
    """Where the study's trials look for it; they may be gone by then."""
    copied(reference, tmp_path, "baselines")
    trial = load_study(write_study(tmp_path)).trials[0]
    place = Place(str(tmp_path / "out"), "", EvaluatorsSpec(), 1, "cpu", PoolAddress("pool", ("evaluator",)))
    workload, state = place.workload(trial), State.baseline(trial.baseline_key)
    baseline = Baseline.read(place.baseline_folder(trial))
    assert baseline is not None
    engines, some = Engines(Inputs(), EvaluatorsSpec(), "cpu"), masks(2, 8)
    (one, two) = engines.evaluator(workload, "evaluator").evaluate(state, "features.10", some, None)
    assert {one.evaluator, two.evaluator} == {"evaluator"}
    trials_own = Memoised(
        Counting(engines.of(workload)), Memo(place.memo_folder), Conditions.of(workload, baseline, "cpu")
    )
    known = trials_own.evaluate(state, "features.10", some, None)
    assert [e.scored.tally for e in known] == [e.scored.tally for e in (one, two)]
    assert trials_own.evaluator.asked == 0  # type: ignore[attr-defined]


def test_the_naive_engine_neither_reads_nor_writes_it(reference: Path, tmp_path: Path, tables: Tables) -> None:
    copied(reference, tmp_path, "baselines", "memo")
    held = {file.name: file.read_bytes() for file in (tmp_path / "out" / "memo").iterdir()}
    method = "sweep.method=[{name: agent, min_updates: 2, max_updates: 2}]"
    wanted = ["evaluators={engine: naive}", "layers=[features.0]", "sweep.drop_bound=[8.0]", method]
    outcome, out = run_tiny(tmp_path, 0, *wanted)
    assert outcome.exit_code == 0
    found = read_study(out).candidates
    assert not found["from_memo"].any()
    assert (found["images_scored"] > 0).all()
    assert {file.name: file.read_bytes() for file in (out / "memo").iterdir()} == held


def test_a_baseline_of_an_earlier_version_gets_its_fingerprints(reference: Path, tmp_path: Path) -> None:
    copied(reference, tmp_path, "baselines")
    trial = load_study(write_study(tmp_path)).trials[0]
    folder = tmp_path / "out" / "baselines" / trial.baseline_key
    whole = Baseline.read(folder)
    assert whole is not None
    old = {k: v for k, v in whole.__dict__.items() if not k.endswith("_fingerprint") and k != "sources"}
    write_json(folder / BASELINE_FILE, old)
    assert Baseline.read(folder).data_fingerprint == ""  # type: ignore[union-attr]
    assert prepare_baseline(trial, folder) == Baseline.read(folder) == whole
    write_json(folder / BASELINE_FILE, old | {"data_fingerprint": "other"})
    with pytest.raises(InputError, match="on other images"):
        prepare_baseline(trial, folder)
