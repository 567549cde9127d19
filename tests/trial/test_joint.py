"""The joint pass: candidates of all layers at once, the search over them, its commit, rows and resuming."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from analysis.ends import layers_at_end
from raprune.console.progress import StudyProgress
from raprune.console.trials import TrialProgress
from raprune.engine import Engine
from raprune.launch import run_study
from raprune.network.masks import KeepMask
from raprune.network.state import ALL_LAYERS, State
from raprune.results import read_study
from raprune.study import load_study
from raprune.study.postprocess import JointSpec
from raprune.trial import joint
from raprune.trial.asked import most_in_a_pass
from raprune.trial.fallbacks import part_of
from raprune.trial.joint import JointPass, _Masks
from raprune.trial.within_bound import commit_within_bound
from tests.launch.runs import Watch, assert_same_rows, run_tiny
from tests.tiny import engine_of, lively_vgg, own_labels, write_study

AGENT = "{name: agent, min_updates: 1, max_updates: 1, masks_per_update: 2}"
STUDY = f"""
name: tiny
model: {{import: 'tests.short:Short'}}
dataset: {{name: digits, num_val: 200, num_test: 200}}
baseline: {{epochs: 2, learning_rate: 0.02, weight_decay: 0.005, batch_size: 16}}
finetune: {{after_layer: {{steps: 4}}}}
layers: [features.10, features.40]
scoring: {{batch_size: 50}}
drop_bound: 25.0
order: low_to_high
credit: 0
candidates_per_layer: 6
postprocess: {{joint: {{candidates: 12, passes: 2, proposals: 3}}}}
sweep:
  method:
    - {AGENT}
    - {{name: random, match: agent}}
"""


def some_of(number: int, seed: int, share: float = 0.7) -> KeepMask:
    mask = torch.rand(number, generator=torch.Generator().manual_seed(seed)) < share
    mask[0] = True
    return KeepMask.of(mask)


def all_of(state: State, engine: Engine, seed: int) -> KeepMask:
    """A mask of all layers that leaves the first filter of each."""
    masks = [some_of(kept.num_kept, seed + at) for at, kept in enumerate(state.kept_of(engine.graph).values())]
    return KeepMask(b"".join(mask.key for mask in masks))


def vgg(**options: Any) -> Engine:
    network = lively_vgg()
    return engine_of(network, own_labels(network, 80), **options)


class Residual(nn.Module):
    """Two convolutions that are added up and read together, so that channels depend on both masks."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 8, 3)
        self.norm, self.head = nn.BatchNorm2d(6), nn.Linear(8, 10)

    def forward(self, images: Tensor) -> Tensor:
        first = torch.relu(self.one(images))
        values = torch.relu(first + self.norm(self.two(first)))
        return self.head(torch.relu(self.three(values)).mean((2, 3)))


def residual(**options: Any) -> Engine:
    torch.manual_seed(0)
    network = Residual().eval()
    return engine_of(network, own_labels(network, 80), **options)


def trained(engine: Engine) -> State:
    """A state with two layers cut and weights of its own."""
    state = State.baseline("baseline")
    for at, layer in enumerate(list(engine.graph.groups)[:2]):
        state = state.cut(engine.graph, layer, some_of(engine.graph.group(layer).num_filters, at))
    return engine.finetune(state, "commit", state.version)


@pytest.mark.parametrize("make", [vgg, residual])
def test_cutting_further_is_cutting_at_once(make: Callable[..., Engine]) -> None:
    engine = make()
    graph, state = engine.graph, State.baseline("baseline")
    at_once = state.cut(graph, ALL_LAYERS, all_of(state, engine, 5))
    alone = state
    for layer, mask in at_once.cuts.items():
        alone = alone.cut(graph, layer, mask)
    assert alone.version == at_once.version
    own = trained(engine)
    mask = all_of(own, engine, 6)
    further = own.cut(graph, ALL_LAYERS, mask)
    assert all(set(further.cuts[layer].flags) <= {True, False} for layer in own.cuts)
    for layer, kept in own.cuts.items():
        assert all(old or not new for old, new in zip(kept.flags, further.cuts[layer].flags, strict=True))
    expected = [sum(KeepMask(mask.key).flags)]
    assert sum(kept.num_kept for kept in further.kept_of(graph).values()) == expected[0]
    assert own.cut(graph, ALL_LAYERS, KeepMask.whole(mask.num_filters)).version == own.version


def test_what_cannot_be_cut_is_refused() -> None:
    engine = vgg()
    state = State.baseline("baseline")
    with pytest.raises(ValueError, match="one entry for each filter that is left"):
        state.cut(engine.graph, ALL_LAYERS, KeepMask.whole(3))
    number = sum(group.num_filters for group in engine.graph.groups.values())
    with pytest.raises(ValueError, match="at least one filter"):
        state.cut(engine.graph, ALL_LAYERS, KeepMask(b"\0" * (number - 1) + b"\1"))


@pytest.mark.parametrize(
    ("make", "before_reward"), [(vgg, 0), (residual, 0), (residual, 2), pytest.param(vgg, 2, marks=pytest.mark.slow)]
)
def test_engines_agree_and_score_what_is_committed(make: Callable[..., Engine], before_reward: int) -> None:
    exact, naive = make(before_reward=before_reward), make(before_reward=before_reward, naive=True)
    state = trained(exact)
    for seed in (1, 2):
        mask = all_of(state, exact, seed)
        score = exact.evaluate(state, ALL_LAYERS, mask, None).score
        assert score is not None
        if not before_reward:
            assert naive.evaluate(state, ALL_LAYERS, mask, None).score == score
            stacked = make(stacked=True)
            assert stacked.evaluate_many(state, ALL_LAYERS, [mask], None, [None])[0].score == score
        assert exact.measure(exact.candidate(state, ALL_LAYERS, mask), "val") == score
        assert exact.evaluate(state, ALL_LAYERS, mask, score + 1).score is None


@pytest.mark.parametrize(
    ("credit", "row", "is_last"),
    [
        ("auto", {"decided_held": True, "credit": 4.0, "num_kept": 18}, False),
        ("auto", {"decided_held": False, "credit": 4.0, "num_kept": 20}, False),  # the next one is lent half of it
        ("auto", {"decided_held": True, "credit": 4.0, "num_kept": 20}, True),
        ("auto", {"decided_held": None, "credit": 4.0, "num_kept": 20}, True),
        (4.0, {"decided_held": False, "credit": 4.0, "num_kept": 20}, True),  # nothing would be otherwise
        (0.0, {"decided_held": False, "credit": 0.0, "num_kept": 20}, True),
        ("auto", {"decided_held": None, "credit": None, "num_kept": 20}, True),  # an older version's
    ],
)
def test_after_a_pass_that_prunes_nothing_only_less_credit_helps(
    credit: float | str, row: dict[str, Any], is_last: bool
) -> None:
    row |= {"num_kept_before": 20}
    layers = [{"decided_held": True}] * 2  # each adds half a bound of two points to the two that it begins with
    trial = SimpleNamespace(credit=credit, lent=lambda bound: bound if credit == "auto" else credit)
    store = SimpleNamespace(layer_rows=lambda: layers, joint_rows=lambda: [row])
    contract = SimpleNamespace(scale=SimpleNamespace(drop_bound=2.0))
    passes = JointPass.__new__(JointPass)
    vars(passes).update(trial=trial, store=store, contract=contract, context=SimpleNamespace(matched=None))
    assert passes._was_the_last(row) == is_last


@pytest.mark.parametrize(("candidates", "per_layer", "most"), [(None, 40, 40), (12, 40, 12), (None, None, 50)])
def test_a_pass_has_as_many_candidates_as_a_layer(candidates: int | None, per_layer: int | None, most: int) -> None:
    assert most_in_a_pass(JointSpec(candidates=candidates), per_layer) == most


def test_a_part_of_a_pass_gives_filters_back_in_each_layer() -> None:
    engine = residual()
    orders = {layer: list(range(group.num_filters))[::-1] for layer, group in engine.graph.groups.items()}
    masks = _Masks(engine.graph, State.baseline("baseline"), orders)
    decided = KeepMask.of(masks.mask([4, 0, 6]))
    for share, counts in ((0.5, [2, 0, 3]), (0.3, [1, 0, 2]), (1.0, [4, 0, 6])):
        assert part_of(decided, masks.order_of(decided), share) == KeepMask.of(masks.mask(counts))


ORDERS: list[int] = []
"""Filters that each pass of the reference could give back in an order of their own."""


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def commit(*given: Any) -> Any:
        ORDERS.append(len(given[5]))
        return commit_within_bound(*given)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(joint, "commit_within_bound", commit)
        return run_tiny(tmp_path_factory.mktemp("joint"), 0, text=STUDY)[1]


def test_the_rows_of_a_pass(reference: Path) -> None:
    tables = read_study(reference)
    searched, matched = (row["trial_id"] for row in tables.trials.to_dict("records"))
    trial = tables.trials.set_index("trial_id").loc[searched]
    passes = tables.joint[tables.joint["trial_id"] == searched]
    layers = tables.layers[tables.layers["trial_id"] == searched]
    assert 1 <= len(passes) <= 2
    assert passes["num_kept_before"].tolist() == ORDERS
    assert passes["num_kept"].iloc[0] < passes["num_kept_before"].iloc[0]
    assert (trial["baseline_val_score"] - passes["finetuned_val_score"] <= 25 + 1e-9).all()
    assert trial["macs"] == passes["macs"].iloc[-1] < layers["macs"].iloc[-1]
    last = passes.iloc[-1]
    assert sum(last["keep_mask"]) == last["num_kept"]
    assert len(last["keep_mask"]) == last["num_filters"] == sum(last["layer_sizes"])
    ends = layers_at_end(tables).groupby("trial_id")["num_kept"].sum()  # two of the network's four layers
    assert ends.to_dict() == tables.trials.set_index("trial_id")["num_kept"].to_dict()
    scored = tables.candidates[tables.candidates["trial_id"] == searched]
    of_pass = scored[scored["layer"] == ALL_LAYERS]
    assert 1 <= len(of_pass) <= 24
    assert trial["num_candidates"] == len(scored)
    assert (of_pass["keep_mask"].map(len).isin(passes["num_kept_before"])).all()
    theirs = tables.joint[tables.joint["trial_id"] == matched]
    assert theirs["num_kept"].tolist() == passes["num_kept"].tolist()
    assert theirs[["drop_allowance", "credit", "decided_held"]].isna().all(axis=None)
    assert passes["credit"].tolist() == [0.0] * len(passes)
    assert passes["decided_held"].iloc[0] in (True, False)


class Killed(BaseException):
    """Ends a run as a kill does: nothing more is written."""


@pytest.mark.parametrize("commits", [pytest.param(2, marks=pytest.mark.slow), 3])
def test_the_same_rows_after_a_kill(reference: Path, tmp_path: Path, commits: int) -> None:
    folder = tmp_path / "out"
    shutil.copytree(reference / "baselines", folder / "baselines")

    def kill(number: int) -> None:
        if number == commits:
            raise Killed

    plan = load_study(write_study(tmp_path, STUDY))
    with pytest.raises(Killed):
        run_study(plan, folder, Watch(kill), num_evaluators=0)
    out = io.StringIO()
    trials = {
        trial.trial_id: TrialProgress(trial.method.name, 12, 2, trial.matched_trial_id is not None, passes=2)
        for trial in plan.trials
    }
    watch = StudyProgress(Console(file=out, width=200), trials)
    run_study(plan, folder, watch, num_evaluators=0)
    assert_same_rows(reference, folder)
    first = trials[plan.trials[0].trial_id]
    assert (first.layers_done, first.num_layers, first.first_step) == (2, 2, 2)
    assert first.passes_done >= first.first_pass == commits - 2
    assert out.getvalue().count("completed: ") == 2


def test_a_budget_ends_a_pass_and_the_study_resumes(reference: Path, tmp_path: Path) -> None:
    shutil.copytree(reference / "baselines", tmp_path / "out" / "baselines")
    tables = read_study(reference)
    searched = tables.trials["trial_id"][0]
    number = int((tables.candidates[tables.candidates["trial_id"] == searched]["layer"] != ALL_LAYERS).sum()) + 1
    alone = f"sweep.method=[{AGENT}]"
    run_tiny(tmp_path, 0, f"budget={{candidates: {number}}}", alone, text=STUDY)
    (row,) = read_study(tmp_path / "out").trials.to_dict("records")
    assert row["status"] == "stopped"
    assert row["val_score_drop"] <= 25 + 1e-9
    assert read_study(tmp_path / "out").joint["cut_short"].tolist()[-1] is True
    (finetuned,) = tmp_path.glob("out/baselines/*/finetuned-*-stopped.json")
    assert finetuned.name.endswith("-3-stopped.json")  # after two layers and the pass
    run_tiny(tmp_path, 0, text=STUDY)
    assert_same_rows(reference, tmp_path / "out")
