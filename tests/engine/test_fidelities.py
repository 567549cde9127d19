"""The named fidelities: what each computes, how a trial names it, and that committed states are measured in full."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from raprune.engine import Engine, open_engine
from raprune.engine.approximate import ApproximateEngine
from raprune.engine.batches import train_batches
from raprune.engine.suffix import above
from raprune.errors import InputError, StudyError
from raprune.evaluators.memo import Conditions, Memo, Memoised
from raprune.network.masks import KeepMask
from raprune.network.state import State
from raprune.registry import REWARDS
from raprune.study import TrialSpec, load_study
from raprune.study.fidelity import FidelitySpec
from raprune.study.parts import EvaluatorsSpec
from raprune.study.seeds import seed_for
from raprune.trial.candidates import Candidates, Scale
from raprune.trial.within_bound import Contract, commit_within_bound
from tests.engine.test_naive_is_exact import a_state, network_and_splits
from tests.engine.test_naive_is_exact import masks as random_masks
from tests.evaluators.test_memo import BASELINE, WORKLOAD
from tests.kinds import KINDS
from tests.tiny import STUDY, EngineEvaluator, Trained, engine_of, lively_short, own_labels, write_study

BASE = State.baseline("baseline")
FIDELITIES: dict[str, dict[str, Any]] = {
    "finetune=20 steps, 250 val images": {"val_images": 250},
    "finetune=5 steps": {"finetune_steps": 5},
    "finetune=20 steps, suffix only": {"finetune": "suffix"},
    "recalibrate=8 batches": {"finetune": "recalibrate"},
    "recalibrate=4 batches": {"finetune": "recalibrate", "recalibration_batches": 4},
    "finetune=20 steps, racing 3": {"racing": 3.0},
    "finetune=20 steps, bfloat16": {"precision": "bfloat16"},
    "finetune=20 steps, 5 together": {"together": 5},
    "finetune=5 steps, suffix only, 250 val images, racing 2.5": {
        "val_images": 250, "finetune_steps": 5, "finetune": "suffix", "racing": 2.5,
    },
}  # fmt: skip


def spec(before_reward: int = 20, **fidelity: Any) -> TrialSpec:
    choices = {name: {"name": "x"} for name in ("model", "dataset", "score", "order", "method", "decision", "reward")}
    finetune = {"before_reward": {"steps": before_reward}}
    return TrialSpec.model_validate(
        {"study": "s", **choices, "drop_bound": 2.0, "finetune": finetune, "fidelity": fidelity}
    )


def approximate(full: Engine, cache_gib: float = 1.0, **fidelity: Any) -> ApproximateEngine:
    """The engine of the same network and data at another fidelity."""
    return ApproximateEngine(replace(full.workload, fidelity=FidelitySpec(**fidelity)), "cpu", cache_gib)


def small(steps: int = 0, dtype: torch.dtype = torch.float32) -> Engine:
    network = lively_short(dtype=dtype)
    return engine_of(network, own_labels(network, 120), steps)


def some_mask(num_filters: int, share: float = 0.5, seed: int = 0) -> KeepMask:
    mask = torch.rand(num_filters, generator=torch.Generator().manual_seed(seed)) < share
    mask[0] = True
    return KeepMask.of(mask)


def test_a_trial_says_what_is_not_full() -> None:
    assert spec().fidelity_name == "finetune=20 steps"
    assert spec(0).fidelity_name == "forward only"
    assert spec(0, val_images=9).fidelity_name == "forward only, 9 val images"
    assert [spec(**fidelity).fidelity_name for fidelity in FIDELITIES.values()] == list(FIDELITIES)
    trials = [spec(), *(spec(**fidelity) for fidelity in FIDELITIES.values())]
    assert len({trial.trial_id for trial in trials}) == len(trials)
    assert len({trial.baseline_key for trial in trials}) == 1
    assert [trial.fidelity.is_full for trial in trials] == [True] + [False] * len(FIDELITIES)


@pytest.mark.parametrize(
    ("before_reward", "fidelity", "message"),
    [
        (20, {"finetune": "recalibrate", "finetune_steps": 5}, "must not set finetune_steps with"),
        (0, {"finetune_steps": 5}, "before_reward is 0"),
        (0, {"finetune": "suffix"}, "before_reward is 0"),
        (0, {"together": 5}, "before_reward is 0"),
        (20, {"together": 5, "finetune": "suffix"}, "must not set together with finetune: suffix"),
        (20, {"together": 65}, "less than or equal to 64"),
        (4, {"finetune_steps": 5}, "at most 4, as finetune.before_reward has; got 5"),
    ],
)
def test_what_cannot_be_meant_is_refused(before_reward: int, fidelity: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        spec(before_reward, **fidelity)


def test_the_naive_engine_has_no_fidelities(tmp_path: Path) -> None:
    text = STUDY + "fidelity: {val_images: 50}\nevaluators: {engine: naive}\n"
    with pytest.raises(StudyError, match="the naive engine has no fidelities"):
        load_study(write_study(tmp_path, text))
    assert load_study(write_study(tmp_path, text.replace("naive", "exact"))).trials[0].fidelity.val_images == 50
    workload = replace(small().workload, fidelity=FidelitySpec(racing=3.0))
    with pytest.raises(InputError, match="the naive engine has no fidelities"):
        open_engine(workload, "cpu", EvaluatorsSpec(engine="naive"))
    assert type(open_engine(workload, "cpu", EvaluatorsSpec())) is ApproximateEngine


def test_the_memo_misses_across_fidelities(tmp_path: Path) -> None:
    full = small(2)
    mask, memo = some_mask(full.graph.group("features.10").num_filters), Memo(tmp_path)
    for fidelity in (
        {},
        {"val_images": 40},
        {"finetune_steps": 1},
        {"finetune": "suffix"},
        {"finetune": "recalibrate"},
        {"precision": "bfloat16"},
        {"together": 2},
    ):
        conditions = Conditions.of(replace(WORKLOAD, fidelity=FidelitySpec(**fidelity)), BASELINE, "cpu")
        asked = Memoised(EngineEvaluator(approximate(full, **fidelity)), memo, conditions)
        found = [asked.evaluate(BASE, "features.10", [mask], None)[0].from_memo for _ in range(2)]
        assert found == [False, True], fidelity


def test_the_score_on_a_part_is_the_parents_less_the_paired_difference() -> None:
    full = small()
    engine, layer = approximate(full, val_images=50), "features.10"
    chosen = engine._order
    assert len(chosen) == len(set(chosen.tolist())) == 50
    parent = BASE.cut(full.graph, "features.0", some_mask(full.graph.group("features.0").num_filters, 0.9))
    mask = some_mask(full.graph.group(layer).num_filters, 0.8)
    candidate = parent.cut(full.graph, layer, mask)

    def right(state: State) -> Tensor:
        logits = full.build(state)(full.as_input(full.splits.val.images_BCHW))
        return (logits.argmax(1) == full.splits.val.labels_B).double() * 100

    expected = right(parent).mean() - (right(parent)[chosen].mean() - right(candidate)[chosen].mean())
    scored = engine.evaluate(parent, layer, mask, None)
    assert scored.score == pytest.approx(float(expected), abs=1e-9)
    assert scored.images_scored == 50
    assert approximate(full, val_images=500).evaluate(parent, layer, mask, None).tally == (
        full.evaluate(parent, layer, mask, None).tally
    )
    early = engine.evaluate(parent, layer, mask, float(expected) + 1)
    assert early.score is None
    later = engine.evaluate(parent, layer, mask, None, early.tally)
    assert later.tally == scored.tally


def test_fewer_steps_are_those_of_a_shorter_finetune() -> None:
    full, short = small(5), small(2)
    mask = some_mask(full.graph.group("features.10").num_filters)
    found = approximate(full, finetune_steps=2).evaluate(BASE, "features.10", mask, None)
    assert found.tally == short.evaluate(BASE, "features.10", mask, None).tally
    trained = [
        engine.candidate(BASE, "features.10", mask).version for engine in (full, approximate(full, finetune_steps=2))
    ]
    assert trained[0] == trained[1] != BASE.version  # a state's fine-tune is the full one


def logits_of(engine: ApproximateEngine, state: State, layer: str, mask: KeepMask) -> Tensor:
    found = [logits() for logits, _ in engine._candidate(state, layer, mask, 0)]
    return torch.cat(found)[engine._order.argsort()]


def train_above(engine: Engine, network: nn.Module, upper: set[str], state: State, steps: int) -> Tensor:
    """A plain fine-tune of the whole network, of which all but the modules ``upper`` is frozen in eval mode; logits."""
    network.eval()
    parameters = []
    for name, module in network.named_modules():
        if name in upper:
            module.train()
            parameters += list(module.parameters())
    optimiser = torch.optim.SGD(parameters, lr=0.01, momentum=0.9, weight_decay=5e-4, nesterov=True)
    seed = seed_for(0, state.version, "reward")
    torch.manual_seed(seed)
    for step, (images, labels) in enumerate(train_batches(engine.splits, 64, steps, seed, torch.float64)):
        optimiser.param_groups[0]["lr"] = 0.01 * (1 - 0.99 * step / steps)
        optimiser.zero_grad()
        engine.score.loss(network(images), labels).backward()
        optimiser.step()
    with torch.no_grad():
        return network.eval()(engine.as_input(engine.splits.val.images_BCHW))


def test_suffix_is_a_finetune_with_all_below_frozen() -> None:
    full = small(3, torch.float64)
    engine, layer = approximate(full, finetune="suffix"), "features.10"
    mask = some_mask(full.graph.group(layer).num_filters)
    network = full.build(BASE.cut(full.graph, layer, mask))
    names = [name for name, module in network.named_modules() if not list(module.children())]
    upper = set(names[names.index(layer) + 2 :])  # the layer's norm is below
    assert "features.11" not in upper
    expected = train_above(full, network, upper, BASE, 3)
    untrained = full.build(BASE.cut(full.graph, layer, mask))(full.as_input(full.splits.val.images_BCHW))
    for _ in range(2):  # the second time from what is kept
        found = logits_of(engine, BASE, layer, mask)
        assert torch.allclose(found, expected, atol=1e-9)
    assert not torch.allclose(found, untrained, atol=1e-2)


WHOLE = [pytest.param(name, marks=pytest.mark.slow) for name in ("segnet", "cifar_resnet", "vgg16_imagenet")]


@pytest.mark.parametrize("name", [*KINDS, *WHOLE])
def test_suffix_on_other_networks(name: str) -> None:
    network, splits = network_and_splits(name)
    score = "top1_accuracy" if splits.val.labels_B.dim() == 1 else "global_accuracy"
    full = engine_of(network, splits, 2, score=score)
    engine, state = approximate(full, finetune="suffix"), a_state(full)
    whole = [layer for layer in full.graph.groups if layer not in state.cuts]
    for layer in (whole[0], whole[-1]):
        (mask,) = random_masks(full, layer, 1)
        candidate = full.build(state.cut(full.graph, layer, mask))
        upper = {str(n.target) for n in above(candidate, full.graph, layer).graph.nodes if n.op == "call_module"}
        expected = train_above(full, candidate, upper, state, 2)
        assert torch.allclose(logits_of(engine, state, layer, mask), expected, atol=1e-9), layer


def test_recalibrate_averages_the_statistics_of_each_batch() -> None:
    full = small(3, torch.float64)
    engine, layer = approximate(full, finetune="recalibrate", recalibration_batches=3), "features.10"
    mask = some_mask(full.graph.group(layer).num_filters)
    network = full.build(BASE.cut(full.graph, layer, mask))
    modules = list(network.named_modules())
    seed = seed_for(0, BASE.version, "reward")
    found: dict[str, list[tuple[Tensor, Tensor]]] = {}

    def measuring(name: str) -> Any:
        def hook(norm: nn.BatchNorm2d, inputs: tuple[Tensor], _: Tensor) -> Tensor:
            (x,) = inputs
            mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=1)
            found.setdefault(name, []).append((mean, variance))
            biased = x.var((0, 2, 3), correction=0)[:, None, None]
            scaled = (x - mean[:, None, None]) / (biased + norm.eps).sqrt()
            return scaled * norm.weight[:, None, None] + norm.bias[:, None, None]

        return hook

    above_layer = [(n, m) for n, m in modules if isinstance(m, nn.BatchNorm2d) and int(n.split(".")[1]) > 11]
    hooks = [norm.register_forward_hook(measuring(name)) for name, norm in above_layer]
    with torch.no_grad():
        for images, _ in train_batches(full.splits, 64, 3, seed, torch.float64):
            network(images)
        for hook, (name, norm) in zip(hooks, above_layer, strict=True):
            hook.remove()
            norm.running_mean.copy_(torch.stack([mean for mean, _ in found[name]]).mean(0))
            norm.running_var.copy_(torch.stack([variance for _, variance in found[name]]).mean(0))
        expected = network(full.as_input(full.splits.val.images_BCHW))
    assert len(above_layer) == 2
    assert torch.allclose(logits_of(engine, BASE, layer, mask), expected, atol=1e-9)


@pytest.mark.parametrize("kind", ["suffix", "recalibrate"])
def test_what_is_kept_changes_nothing_and_stays_within_the_cache(kind: str) -> None:
    full, layer = small(3), "features.0"
    num_filters = full.graph.group(layer).num_filters
    engines = [approximate(full, gib, finetune=kind, val_images=90) for gib in (1.0, 0.0006, 0.0)]
    tallies = [[e.evaluate(BASE, layer, some_mask(num_filters, seed=s), None).tally for s in range(3)] for e in engines]
    assert tallies[0] == tallies[1] == tallies[2]
    held = [engine.store.num_bytes for engine in engines]  # type: ignore[attr-defined]
    assert held[0] > held[1] > held[2] == 0
    assert held[1] <= 0.0006 * 2**30
    whole = KeepMask.whole(num_filters)
    again = [engines[0].evaluate(BASE, layer, whole, None).tally for _ in range(2)]
    assert again[0] == again[1] == engines[2].evaluate(BASE, layer, whole, None).tally


class Flattering(EngineEvaluator):
    """Finds every candidate as good as the baseline."""

    def evaluate(self, state: Any, layer: Any, masks: Any, lowest: Any, starts: Any = None) -> Any:
        found = super().evaluate(state, layer, masks, None, starts)
        return [replace(one, scored=replace(one.scored, score=100.0)) for one in found]


def test_what_is_committed_is_measured_in_full(trained: Trained) -> None:
    full = engine_of(trained.network, trained.splits)
    engine, layer = approximate(full, val_images=20), "features.24"
    scale = Scale(full.measure(BASE, "val"), 5.0, REWARDS.build("bounded_log", {"floor": -1.0}))
    num_filters = full.graph.group(layer).num_filters
    candidates = Candidates(Flattering(engine), BASE, layer, num_filters, scale, lambda _: None)
    hopeless, harmless = some_mask(num_filters, 0.0), torch.ones(num_filters, dtype=torch.bool)
    harmless[int(trained.network.get_submodule(layer).weight.flatten(1).norm(1, 1).argmin())] = False
    evaluations = candidates([hopeless.tensor, harmless])
    assert all(evaluation.feasible for evaluation in evaluations)
    contract = Contract(candidates.evaluator, full.graph, scale, engine.fidelity)
    found = commit_within_bound(contract, candidates, hopeless, scale.baseline_score)
    assert found.keep_mask == KeepMask.of(harmless)
    assert scale.feasible(full.measure(found.state, "val"))
    assert found.pruned_val_score == full.measure(BASE.cut(full.graph, layer, found.keep_mask), "val") != 100.0
