"""The low-rank step of a trial: ranks by rule and by search, the drop bound, rows, continuing after a stop."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch

from raprune.artefact.trials import open_trial
from raprune.engine import Engine
from raprune.engine.paired import Paired
from raprune.engine.tasks import Energies, Factorise, Look, Task
from raprune.network.lowrank import Factor, energy_kept, rank_for_energy
from raprune.network.masks import KeepMask
from raprune.network.measure import count_bytes, count_macs, count_params
from raprune.network.sizes import Sizes
from raprune.network.state import State
from raprune.registry import REWARDS
from raprune.results import Tables, TrialStore, read_study
from raprune.study.postprocess import LowRankSpec
from raprune.trial.candidates import Scale
from raprune.trial.guard import Guard
from raprune.trial.low_rank import LowRankStep, last_snapshot
from raprune.trial.snapshots import Snapshots
from raprune.trial.within_bound import Contract
from tests.launch.runs import comparable, run_tiny
from tests.tiny import STUDY, EngineEvaluator, Trained, engine_of

LAYERS = ["features.24", "features.27", "classifier.0"]


@pytest.fixture(scope="module")
def engine(trained: Trained) -> Engine:
    """Of the small trained network, for all steps: none leaves anything behind in it."""
    return engine_of(trained.network, trained.splits)


class Step:
    """A step on the small trained network, with everything that it asked for."""

    def __init__(self, engine: Engine, folder: Path, bound: float = 5.0, over_after: int = 99, **spec: Any) -> None:
        self.engine = engine
        self.start = State.baseline("baseline")
        self.score = self.engine.measure(self.start, "val")
        folder.mkdir(exist_ok=True)
        self.store = TrialStore(folder, "s", "t")
        traced = engine.traced
        sizes = Sizes(traced, traced.network.state_dict(), (1, 32, 32))
        scale = Scale(self.score, bound, REWARDS.build("bounded_log", {}))
        self.told: list[dict[str, Any]] = []
        settings = LowRankSpec(**{"layers": LAYERS, "schemes": ["svd", "filter_basis"], **spec})
        evaluator: Any = EngineEvaluator(self.engine)
        context: Any = SimpleNamespace(store=self.store, matched=None, progress=self.told.append)
        self.step = LowRankStep(
            settings, Contract(evaluator, traced.graph, scale), sizes, context,
            Snapshots(self.store.folder / "state", "baseline"), 7,
            lambda: len(self.store.low_rank_rows()) >= over_after,
        )  # fmt: skip
        self.sizes = sizes

    def run(self) -> tuple[State, float, bool]:
        last = last_snapshot(self.store, 7)
        return self.step.run(self.start if last < 7 else self.step.snapshots.load(last), self.score)

    @property
    def rows(self) -> dict[str, dict[str, Any]]:
        return {row["layer"]: row for row in self.store.low_rank_rows()}


def test_ranks_are_the_smallest_within_the_bound(engine: Engine, tmp_path: Path) -> None:
    """Every kept state is within it, and one rank less of the first layer is not."""
    step = Step(engine, tmp_path)
    state, score, done = step.run()
    assert done
    assert score == step.engine.measure(state, "val") >= step.score - 5.0
    rows = step.rows
    assert list(rows) == ["features.27", "features.24", "classifier.0"]  # by what rank 1 would save
    applied = [row for row in rows.values() if row["applied"]]
    assert applied
    assert [row["layer"] for row in applied] == list(state.factors)
    for before, row in zip([{"val_score_after": step.score}, *applied], applied, strict=False):
        assert row["val_score_before"] == before["val_score_after"]
        assert row["val_score_after"] == row["factorised_val_score"] >= step.score - 5.0
        assert row["params_after"] < row["params_before"]
        assert row["macs_after"] < row["macs_before"]
        assert 1 <= row["num_scored"] <= row["full_rank"].bit_length()
    first = applied[0]
    energies = Energies(first["layer"], first["scheme"], 1).run(step.engine, step.start)
    assert first["energy"] == pytest.approx(energy_kept(energies, first["rank"]))
    if first["rank"] > 1:
        smaller = Factorise(first["layer"], Factor(first["scheme"], first["rank"] - 1), 1).run(step.engine, step.start)
        assert step.engine.measure(smaller, "val") < step.score - 5.0
    network = step.sizes.network(state)
    saved = sum(row["params_before"] - row["params_after"] for row in applied)
    assert step.sizes.of(step.start).params - count_params(network) == saved
    assert [told["low_rank"]["layer"] for told in step.told] == list(state.factors)


def test_the_guard_is_asked_once_a_layer_and_may_refuse(engine: Engine, tmp_path: Path) -> None:
    """It allows the first layer that is tried and refuses the others, which stay as they are."""
    step, looked = Step(engine, tmp_path, rank=5, bound=100.0), list[State]()

    class Strict(EngineEvaluator):
        def run(self, task: Task[Any], state: State) -> Any:
            if not isinstance(task, Look):
                return super().run(task, state)
            looked.append(state)
            drop = 1.0 if len(looked) == 1 else 101.0
            return Paired(90 - drop, drop, 100, 0.0, 100, 1, 0)

    step.step.evaluator = step.step.contract.evaluator = Strict(step.engine)
    step.step.contract.guard = Guard(step.step.evaluator, 300, None)
    state, _, done = step.run()
    rows = list(step.rows.values())
    assert done
    assert [row["applied"] for row in rows] == [True, False, False]
    assert [row["num_guard_looks"] for row in rows] == [1, 1, 1]
    assert rows[1]["reason"] == "at rank 5 the drop is over the bound on the guard images"
    assert list(state.factors) == [rows[0]["layer"]]
    assert looked[0].version == state.version


def test_a_stopped_step_goes_on_to_the_same_end(engine: Engine, tmp_path: Path) -> None:
    at_once, score, _ = Step(engine, tmp_path / "one").run()
    cut, _, done = Step(engine, tmp_path / "two", over_after=1).run()
    assert not done
    assert len(cut.factors) <= 1
    later = Step(engine, tmp_path / "two")
    state, resumed, done = later.run()
    assert done
    assert (state.version, resumed) == (at_once.version, score)
    assert later.run()[0].version == state.version
    rows = [{k: v for k, v in row.items() if k != "wall_time_s"} for row in later.rows.values()]
    other = Step(engine, tmp_path / "one").rows.values()
    assert rows == [{k: v for k, v in row.items() if k != "wall_time_s"} for row in other]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"rank": 5}, (5, 5, 5)),
        ({"rank": 20}, (20, 20, None)),  # of the last only ranks up to 15 save
        ({"ratio": 0.5}, (13, 14, 7)),
        ({"energy": 1.0}, (None, None, None)),
    ],
)
def test_ranks_by_rule(
    engine: Engine, tmp_path: Path, rule: dict[str, float], expected: tuple[int | None, ...]
) -> None:
    step = Step(engine, tmp_path, bound=100.0, **rule)
    state, _, _ = step.run()
    assert tuple(step.rows[layer]["rank"] for layer in LAYERS) == expected
    for layer, row in step.rows.items():
        assert row["applied"] is (layer in state.factors)
        assert (row["reason"] is None) is row["applied"]
    if "rank" in rule and expected[2] is None:
        assert step.rows["classifier.0"]["reason"] == ("rank 20; only ranks up to 15 save parameters and multiply-adds")


def test_energy_keeps_its_share_with_the_fewest() -> None:
    assert [rank_for_energy([5.0, 3.0, 2.0], share) for share in (0.1, 0.5, 0.51, 0.8, 0.81, 1.0)] == [1, 1, 2, 2, 3, 3]
    assert energy_kept([5.0, 3.0, 2.0], 2) == 0.8
    assert energy_kept([0.0, 0.0], 1) == 1.0


def test_what_is_over_the_bound_stays(engine: Engine, tmp_path: Path) -> None:
    step = Step(engine, tmp_path, bound=0.5, rank=1, layers=["features.24", "features.40"])
    state, score, done = step.run()
    assert (state.version, score, done) == (step.start.version, step.score, True)
    assert all("over the drop bound" in row["reason"] for row in step.rows.values())
    assert all(row["val_score_after"] is None and row["num_scored"] == 1 for row in step.rows.values())


def test_a_finetune_is_kept_within_the_bound(engine: Engine, tmp_path: Path) -> None:
    """It also saves a layer that is over the bound before it."""
    step = Step(engine, tmp_path, bound=40.0, finetune=True, ratio=0.3)
    state, score, _ = step.run()
    assert score == step.engine.measure(state, "val")
    rows = [row for row in step.rows.values() if row["applied"]]
    assert any(row["val_score_after"] != row["factorised_val_score"] for row in rows)


def test_layers_that_lost_filters_stay_where_whole_ones_are_wanted(engine: Engine, tmp_path: Path) -> None:
    step = Step(engine, tmp_path, layers="whole", schemes=["separable"])
    state = step.start.cut(step.engine.graph, "features.24", KeepMask.of(torch.arange(32) < 30))
    found = {one.layer: one for one in step.step._arranged(state)}
    assert len(found) == 15
    assert list(found)[:2] == ["features.30", "features.34"]  # 27 has lost channels that it reads, and is tried later
    reasons = {name: one.reason for name, one in found.items() if one.costs is None}
    assert reasons.pop("features.24") == "filters of it were pruned"
    assert list(reasons) == ["classifier.0", "classifier.2"]
    step.step.spec = LowRankSpec(layers="all", schemes=["separable"])
    assert {one.layer: one for one in step.step._arranged(state)}["features.24"].costs is not None


def test_orders(engine: Engine, tmp_path: Path) -> None:
    for order, expected in (("low_to_high", LAYERS), ("high_to_low", LAYERS[::-1])):
        step = Step(engine, tmp_path / order, bound=100.0, rank=2, order=order)
        step.run()
        assert list(step.rows) == expected


TEXT = STUDY.replace("layers: [features.0, features.10, features.40]", "layers: [features.10]").partition("sweep:")[0]
MORE = """drop_bound: 8.0
postprocess: {low_rank: {ratio: 0.7, schemes: [svd, separable], layers: [features.37, features.10, classifier.2]}}
sweep: {method: [magnitude, keep_all, {name: random, match: magnitude}]}
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tables, Path]:
    outcome, out = run_tiny(tmp_path_factory.mktemp("low_rank"), 0, text=TEXT + MORE)
    assert outcome.exit_code == 0
    return read_study(out), out


def test_rows_of_a_study(study: tuple[Tables, Path]) -> None:
    tables, _ = study
    trials = tables.trials.set_index("method")
    assert (trials["params"] < trials["params_before_low_rank"]).all()
    assert (trials["macs"] < trials["macs_before_low_rank"]).all()
    assert (trials["model_bytes"] < trials["model_bytes_before_low_rank"]).all()
    kept = trials.loc["keep_all"]
    assert kept["params_before_low_rank"] == kept["baseline_params"]
    assert kept["val_score_before_low_rank"] == kept["baseline_val_score"]
    assert kept["num_candidates"] == kept["pruning_ratio"] == 0
    searched = trials.loc[["magnitude", "keep_all"]]
    assert (searched["val_score_drop"] <= 8.0 + 1e-9).all()
    assert json.loads(kept["postprocess_settings"])["low_rank"]["ratio"] == 0.7
    rows = tables.low_rank.merge(tables.trials[["trial_id", "method"]], on="trial_id").set_index(["method", "layer"])
    assert len(rows) == 3 * 3
    assert rows.loc[("keep_all", "features.37"), "applied"]
    for method in ("magnitude", "random"):
        of = rows.loc[method]
        saved = (of["params_before"] - of["params_after"])[of["applied"]].sum()
        assert trials.loc[method, "params_before_low_rank"] - trials.loc[method, "params"] == saved
    theirs, ours = (rows.loc[method]["rank"].dropna().to_dict() for method in ("magnitude", "random"))
    assert ours == theirs != {}


@pytest.mark.slow
def test_a_trial_that_broke_off_goes_on(
    study: tuple[Tables, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a layer's snapshot on disk and its row not yet: the rows are those of an undisturbed run."""
    tables, out = study
    (tmp_path / "out").mkdir()
    shutil.copytree(out / "baselines", tmp_path / "out" / "baselines")
    write = TrialStore.write_low_rank
    breaks: set[str] = set()

    def break_off(store: TrialStore, step: int, row: dict[str, Any]) -> None:
        if step == 1 and store.folder.name not in breaks:
            breaks.add(store.folder.name)
            raise RuntimeError("broken off")
        write(store, step, row)

    monkeypatch.setattr(TrialStore, "write_low_rank", break_off)
    codes = [run_tiny(tmp_path, 0, text=TEXT + MORE)[0].exit_code for _ in range(3)]
    assert codes == [1, 1, 0]  # the matched trial begins, and breaks off, when its partner has completed
    assert len(breaks) == 3
    again = read_study(tmp_path / "out")
    for name, frame in comparable(tables).items():
        pd.testing.assert_frame_equal(comparable(again)[name], frame, check_exact=True, obj=name)


def test_the_artefact_is_the_network_of_the_row(study: tuple[Tables, Path]) -> None:
    tables, out = study
    row = tables.trials[tables.trials["method"] == "magnitude"].iloc[0]
    opened = open_trial(out / "trials" / row["trial_id"], allow_import=True)
    network = opened.networks["pruned"]
    sizes = (count_params(network), count_macs(network, (1, 32, 32)), count_bytes(network))
    assert sizes == (row["params"], row["macs"], row["model_bytes"])
    with torch.no_grad():
        assert network(torch.zeros(2, 1, 32, 32)).shape == (2, 10)
    plan = json.loads((out / "trials" / row["trial_id"] / "model" / "plan.json").read_text())
    rows = tables.low_rank[(tables.low_rank["trial_id"] == row["trial_id"]) & tables.low_rank["applied"]]
    ranks = zip(rows["layer"], rows["scheme"], rows["rank"], strict=True)
    assert plan["factors"] == {layer: {"scheme": scheme, "rank": rank} for layer, scheme, rank in ranks}
