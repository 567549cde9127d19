"""What is found before any work: data, network, layers, bounds and checkpoint, each at its line of the study."""

# ruff: noqa: E501  (tables: one case a line)

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from raprune.errors import StudyError
from raprune.network.weights import save_safetensors
from raprune.plugins.models.vgg16 import Vgg16
from raprune.preflight.checks import expected_candidates, load_and_inspect, num_layers
from raprune.preflight.guarding import GuardFacts, guard_line
from raprune.preflight.limits import limit_line
from raprune.study import load_study
from tests.tiny import Trained

HEAD = "name: x\nmodel: {name: vgg16, width: 0.0625}\ndataset: {name: digits, num_val: 200}\nmethod: magnitude\n"
"""Four lines."""
GOOD = f"{HEAD}drop_bound: 2.0\n"


def study(folder: Path, text: str) -> Path:
    file = folder / "s.yaml"
    file.write_text(text)
    return file


def told(folder: Path, text: str) -> list[str]:
    with pytest.raises(StudyError) as caught:
        load_and_inspect(study(folder, text))
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]


@pytest.fixture(scope="module")
def checkpoints(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints of the small network: trained, untrained, of another width, with its classes permuted."""
    folder = tmp_path_factory.mktemp("checkpoints")
    network = copy.deepcopy(trained.network)
    torch.manual_seed(1)
    save_safetensors(network.state_dict(), folder / "trained.safetensors")
    save_safetensors(Vgg16(0.0625, 10, 1).state_dict(), folder / "untrained.safetensors")
    save_safetensors(Vgg16(0.125, 10, 1).state_dict(), folder / "wide.safetensors")
    torch.save(network, folder / "pickled.pt")
    with torch.no_grad():
        for tensor in (network.classifier[2].weight, network.classifier[2].bias):
            tensor.copy_(tensor.roll(1, 0))
    save_safetensors(network.state_dict(), folder / "permuted.safetensors")
    return folder


def test_facts_of_a_good_study(tmp_path: Path) -> None:
    text = f"{HEAD}layers: [features.0, features.40]\nsweep: {{drop_bound: [2.0, 3.0]}}\n"
    plan, facts = load_and_inspect(study(tmp_path, text))
    (fact,) = facts.values()
    assert (fact.num_train, fact.num_val, fact.num_test) == (1197, 140, 400)
    assert fact.guard == GuardFacts(60, pytest.approx(100 / 60), counts_images=True)
    assert len(fact.graph.groups) == 13
    assert fact.params == sum(p.numel() for p in Vgg16(0.0625, 10, 1).parameters())
    assert fact.checkpoint_score is None
    assert fact.standard_error == pytest.approx(100 * (0.9 * 0.1 / 140) ** 0.5)
    assert [num_layers(trial, fact) for trial in plan.trials] == [2, 2]
    assert all(expected_candidates(trial, fact) >= 4 for trial in plan.trials)


def test_layers_each_asks_the_network(tmp_path: Path) -> None:
    plan, _ = load_and_inspect(study(tmp_path, f"{GOOD}layers: each\n"))
    assert [trial.layers for trial in plan.trials][:3] == [["features.0"], ["features.3"], ["features.7"]]
    assert len(plan.trials) == 13


def test_a_bound_worth_less_than_one_image_is_refused_at_its_value(tmp_path: Path) -> None:
    found = told(tmp_path, f"{HEAD}guard: 0\nsweep:\n  drop_bound:\n    - 0.5\n    - 0.3\n    - 0.49\n")
    rule = "is worth less than one of 200 validation images, 0.5 points; got"
    assert found == [f"s.yaml:9: sweep.drop_bound[1]: {rule} 0.3", f"s.yaml:10: sweep.drop_bound[2]: {rule} 0.49"]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("drop_bound: 1.5\nguard: 0.3\n", "s.yaml:6: guard: sets 60 guard images aside, and a bound of 1.5 is worth less"),
        ("drop_bound: 2.0\nwarranty: 0.95\n", "s.yaml:6: warranty: cannot be kept: at a bound of 2 nothing can be warranted"
         " at 0.95 with 60 guard images; about 2,043 would do (for a drop of 1, with 5% of the answers changed), and 189 are"),
        ("drop_bound: 2.0\nwarranty: 95\n", "s.yaml:6: warranty: is a confidence, above 0.5 and below 1; got 95; did you"),
        ("drop_bound: 2.0\nguard: 0\nwarranty: 0.9\n", "s.yaml:7: warranty: needs guard images to test on"),
        ("drop_bound: 2.0\nguard: 0.005\n", "s.yaml:3: dataset: dataset digits: a guard of 0.005 takes 1 of 200 valid"),
    ],
)  # fmt: skip
def test_a_guard_that_can_show_nothing_is_refused(tmp_path: Path, keys: str, expected: str) -> None:
    (found,) = told(tmp_path, HEAD + keys)
    assert found.startswith(expected), found


def test_what_the_guard_can_show_is_told(tmp_path: Path) -> None:
    plan, facts = load_and_inspect(study(tmp_path, GOOD))
    (fact,), (trial,) = facts.values(), plan.trials
    assert guard_line(trial, fact.guard) == (
        "guard: a bound of 2 must hold on 60 more validation images, too; for a warranty of 0.95 about 2,043 would do (for "
        "a drop of 1, with 5% of the answers changed)\n"
        "  a drop on 60 images has a standard error of 2.9 points if 5% of the answers change: on fresh images it may well "
        "be over the bound"
    )
    assert guard_line(trial, None) is None


@pytest.mark.parametrize(
    ("num_images", "keys", "is_told"),
    [(499, {}, True), (501, {}, False), (60, {"warranty": 0.95}, False), (60, {"drop_bound": 6.0}, False)],
)
def test_a_guard_is_called_unsure_where_its_error_is_half_of_the_bound(
    tmp_path: Path, num_images: int, keys: dict[str, float], is_told: bool
) -> None:
    """With 5% of 500 answers changed the standard error is 1 point, half of the bound."""
    (trial,) = load_study(study(tmp_path, GOOD)).trials
    line = guard_line(trial.model_copy(update=keys), GuardFacts(num_images, 0.2, counts_images=True))
    assert line is not None
    assert ("standard error of" in line) == is_told
    uncounted = guard_line(trial, GuardFacts(num_images, 0.2, counts_images=False))
    assert uncounted == f"guard: a bound of 2 must hold on {num_images} more validation images, too"


def test_a_limit_below_one_candidate_is_refused(tmp_path: Path) -> None:
    (found,) = told(tmp_path, f"{GOOD}images_per_layer: 139\n")
    assert found == "s.yaml:6: images_per_layer: must be at least 140, the validation images of one candidate; got 139"
    load_and_inspect(study(tmp_path, f"{GOOD}images_per_layer: 140\n"))
    load_and_inspect(study(tmp_path, f"{GOOD}images_per_layer: 50\nfidelity: {{val_images: 50}}\n"))


@pytest.mark.parametrize(
    ("method", "limits", "number"),
    [
        ("agent", "candidates_per_layer: 9\n", "9 candidates"),
        ("agent", "images_per_layer: 1300\n", "9 candidates"),
        ("agent", "candidates_per_layer: 10\n", None),
        ("magnitude", "candidates_per_layer: 9\n", None),
    ],
)
def test_a_limit_that_leaves_no_update_is_told(tmp_path: Path, method: str, limits: str, number: str | None) -> None:
    text = GOOD.replace("magnitude", method) + limits
    plan, facts = load_and_inspect(study(tmp_path, text))
    (fact,), (trial,) = facts.values(), plan.trials
    line = limit_line(trial, fact.num_val)
    assert (
        (line is None)
        if number is None
        else (line or "").startswith(
            f"method agent: learns nothing, because {number} per layer leave no update of 5 masks: raise"
        )
    )


def test_unknown_layers_are_refused_with_the_nearest(tmp_path: Path) -> None:
    found = told(tmp_path, f"{GOOD}layers:\n  - features.0\n  - feature.3\n  - classifier.0\n")
    assert [line.partition(" (known")[0] for line in found] == [
        "s.yaml:8: layers[1]: no prunable layer is called 'feature.3'; did you mean 'features.3'?",
        "s.yaml:9: layers[2]: no prunable layer is called 'classifier.0'",
    ]


def test_swept_layers_are_told_at_their_item(tmp_path: Path) -> None:
    (found,) = told(tmp_path, f"{GOOD}sweep:\n  layers:\n    - [features.0]\n    - [features.3, features.1]\n")
    assert found.startswith("s.yaml:9: sweep.layers[1][1]: no prunable layer is called 'features.1'")


def test_batches_of_more_than_all_images_are_refused(tmp_path: Path) -> None:
    found = told(tmp_path, f"{GOOD}finetune: {{batch_size: 2000}}\nbaseline: {{batch_size: 3000}}\n")
    rule = "must be at most 1197, the number of training images; got"
    assert found == [f"s.yaml:6: finetune.batch_size: {rule} 2000", f"s.yaml:7: baseline.batch_size: {rule} 3000"]


def test_all_missing_files_are_told_at_once(tmp_path: Path) -> None:
    parts = "name: x\nmodel: vgg16\ndrop_bound: 2\nbaseline: {checkpoint: no.pt}\n"
    checkpoint, data = told(tmp_path, f"{parts}dataset: {{name: image_folder, root: nowhere}}\n")
    assert data.startswith("s.yaml:5: dataset.root: no such folder")
    assert checkpoint.startswith("s.yaml:4: baseline.checkpoint: no such file")
    own = "dataset: {import: 'tests.preflight.test_preflight:gone'}\n"
    assert [line.partition(": ")[2].partition(":")[0] for line in told(tmp_path, parts + own)] == [
        "baseline.checkpoint",
        "dataset",
    ]


def gone() -> None:
    """Data that are not there."""
    raise FileNotFoundError("gone")


def test_a_missing_checkpoint_is_told_with_the_nearest_name(tmp_path: Path, checkpoints: Path) -> None:
    text = f"{GOOD}sweep:\n  baseline.checkpoint:\n    - {checkpoints}/traind.safetensors\n    - $NOWHERE_AT_ALL/a.pt\n"
    near, unset = told(tmp_path, text)
    assert near.startswith("s.yaml:8: sweep.baseline.checkpoint[0]: no such file")
    assert near.endswith("; did you mean 'trained.safetensors'?")
    assert unset.startswith("s.yaml:9: sweep.baseline.checkpoint[1]: no such file")
    assert unset.endswith("(is the environment variable set?)")


@pytest.mark.parametrize(
    ("name", "fragments"),
    [
        ("untrained.safetensors", ["the baseline scores", "no better than chance", "check its checkpoint"]),
        ("permuted.safetensors", ["classes look permuted"]),
        ("wide.safetensors", ["does not fit the network", "features.0.weight: the checkpoint has (8, 1, 3, 3), the network (4,"]),
        (".", ["must be a file; got the folder"]),
    ],
)  # fmt: skip
def test_a_checkpoint_that_is_no_good(tmp_path: Path, checkpoints: Path, name: str, fragments: list[str]) -> None:
    (found,) = told(tmp_path, f"{GOOD}baseline:\n  checkpoint: {checkpoints}/{name}\n")
    assert found.startswith("s.yaml:7: baseline.checkpoint: ")
    for fragment in fragments:
        assert fragment in found


@pytest.mark.parametrize("name", ["trained.safetensors", "pickled.pt"])
def test_a_good_checkpoint_is_scored(tmp_path: Path, checkpoints: Path, name: str) -> None:
    _, facts = load_and_inspect(study(tmp_path, f"{GOOD}baseline: {{checkpoint: {checkpoints}/{name}}}\n"))
    (fact,) = facts.values()
    assert fact.checkpoint_score is not None
    assert fact.checkpoint_score > 60


@pytest.mark.parametrize("content", [b"not a Parquet file", b""])
def test_a_data_file_that_cannot_be_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "train.parquet").write_bytes(content)
    text = GOOD.replace("{name: digits, num_val: 200}", f"{{name: image_parquet, train: {tmp_path}/train.parquet}}")
    for layers in ("all", "each"):
        (found,) = told(tmp_path, f"{text}layers: {layers}\n")
        assert found.startswith("s.yaml:3: dataset: cannot be used")


def test_what_is_wrong_in_the_file_and_beyond_is_told_at_once(tmp_path: Path) -> None:
    text = f"{HEAD}drop_bound: 0.2\nseed: true\nlayers: [features.1]\nbaseline: {{checkpoint: no.pt, epoch: 3}}\n"
    found = told(
        tmp_path, f"{text}finetune: {{batch_size: 9999, momentum: ~}}\nsweep: {{order: [low_to_high, typo]}}\n"
    )
    assert [line.split(": ")[:2] for line in found] == [
        ["s.yaml:5", "drop_bound"], ["s.yaml:6", "seed"], ["s.yaml:7", "layers[0]"], ["s.yaml:8", "baseline.epoch"],
        ["s.yaml:8", "baseline.checkpoint"], ["s.yaml:9", "finetune.momentum"], ["s.yaml:9", "finetune.batch_size"],
        ["s.yaml:10", "sweep.order[1]"],
    ]  # fmt: skip
