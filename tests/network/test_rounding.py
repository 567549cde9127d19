"""Kept filters rounded up to a multiple: which come back, what it does to ids, and to the layers of a trial."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from raprune.network.masks import KeepMask
from raprune.results import read_study
from raprune.study import TrialSpec
from raprune.study.schema import NEW_FIELDS
from raprune.study.seeds import NUMERICS_VERSION, digest
from raprune.trial.committed import Committed
from raprune.trial.within_bound import Contract, commit_within_bound
from tests.launch.runs import run_tiny
from tests.tiny import EngineEvaluator, Trained, candidates_of, engine_of

WEIGHTS = torch.tensor([[1.0, 0.0], [0.0, -3.0], [2.0, 2.0], [-1.0, 1.0], [3.0, 0.0], [9.0, 9.0]])
"""L1 norms 1, 3, 4, 2, 3, 18."""


@pytest.mark.parametrize(
    ("kept", "multiple", "expected"),
    [
        ([5], 1, [5]),
        ([5], 2, [2, 5]),
        ([5], 3, [1, 2, 5]),  # filter 1 and filter 4 are equally large: the first comes back
        ([0], 4, [0, 1, 2, 5]),
        ([0, 1], 2, [0, 1]),
        ([0, 1, 2, 3, 4], 4, [0, 1, 2, 3, 4, 5]),  # never more than there are
        ([0], 8, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_the_largest_pruned_filters_come_back(kept: list[int], multiple: int, expected: list[int]) -> None:
    mask = KeepMask(bytes(place in kept for place in range(6)))
    rounded = mask.round_up(multiple, WEIGHTS)
    assert [place for place, keeps in enumerate(rounded.flags) if keeps] == expected
    assert mask.tensor.nonzero().flatten().tolist() == kept


def spec(**changes: object) -> TrialSpec:
    choices = {name: {"name": "x"} for name in ("model", "dataset", "score", "order", "method", "decision", "reward")}
    return TrialSpec.model_validate({"study": "s", **choices, "drop_bound": 2.0, **changes})


def test_ids_from_before_the_setting_stay() -> None:
    plain = spec(guard=0)
    known = plain.model_dump(mode="json", exclude={"study", *NEW_FIELDS})
    assert plain.trial_id == spec(round_to=1, guard=0).trial_id == digest(known, NUMERICS_VERSION)
    assert spec(round_to=8, guard=0).trial_id not in (plain.trial_id, spec(round_to=16, guard=0).trial_id)
    assert spec(round_to=8, guard=0).baseline_key == plain.baseline_key


def test_a_rounded_mask_is_committed_within_the_bound(trained: Trained) -> None:
    engine = engine_of(trained.network, trained.splits)
    layer = "features.24"
    candidates = candidates_of(engine, layer, drop_bound=99.0)
    decided = KeepMask.of(torch.arange(32) < 5)
    weights = dict(trained.network.named_parameters())[f"{layer}.weight"].detach().flatten(1)

    scale = candidates.scale

    def commit(multiple: int) -> Committed:
        return commit_within_bound(
            Contract(EngineEvaluator(engine), engine.graph, scale), candidates, decided, scale.baseline_score,
            lambda mask: mask.round_up(multiple, weights),
        )  # fmt: skip

    found = commit(8)
    assert (found.keep_mask.num_kept, found.num_decided) == (8, 5)
    assert found.keep_mask.flags[:5] == [True] * 5
    assert scale.feasible(found.finetuned_val_score)
    whole = commit(32)  # rounded up to all there are: nothing is cut
    assert (whole.keep_mask.num_kept, whole.num_decided) == (32, 5)
    assert whole.finetuned_val_score == scale.baseline_score


STUDY = """
name: tiny
model: {import: 'tests.short:Short'}
dataset: {name: digits, num_val: 200, num_test: 200}
baseline: {epochs: 2, learning_rate: 0.02, weight_decay: 0.005, batch_size: 16}
finetune: {after_layer: {steps: 4}}
layers: [features.10, features.40]
scoring: {batch_size: 50}
drop_bound: 8.0
round_to: 4
sweep:
  method: [magnitude, {name: random, match: magnitude}]
"""


def test_layers_of_a_study_are_multiples_and_rows_say_what_was_decided(tmp_path: Path) -> None:
    outcome, out = run_tiny(tmp_path, 0, text=STUDY)
    assert outcome.exit_code == 0
    tables = read_study(out)
    assert tables.trials["round_to"].tolist() == [4, 4]
    layers = tables.layers.assign(matched=tables.layers["trial_id"] != tables.trials["trial_id"][0])
    assert (layers["num_kept"] % 4 == 0).all()
    added = layers["num_kept"] - layers["num_decided"]
    assert added[~layers["matched"]].between(0, 3).all()
    assert (added[layers["matched"]] == 0).all()  # matched to what its partner kept after rounding
    assert (added > 0).any()
    assert (tables.trials["val_score_drop"][:1] <= 8.0).all()
