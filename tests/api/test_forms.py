"""Networks and data of every kind: pixels and floats alike, one class per pixel, wrapped, strange and unusable ones."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from raprune.api import prune
from raprune.api.network import own_copy
from raprune.engine.batches import train_batches
from raprune.errors import InputError, RapruneError
from raprune.plugins.datasets.base import VOID, Split, Splits, normalise, shift_and_flip
from raprune.registry import DATASETS
from raprune.results import COST_COLUMNS
from tests.api.networks import FAST, SmallNet, User

ONE = {**FAST, "layers": ["body.3"], "drop_bound": 20.0}
"""One layer only."""


class Several(nn.Module):
    """Gives more than logits."""

    def __init__(self, network: SmallNet, alone: bool) -> None:
        super().__init__()
        self.network = network
        self.alone = alone

    def forward(self, images: Tensor) -> Any:
        features = self.network.body(images).mean((2, 3))
        logits = self.network.head(features)
        return (logits,) if self.alone else {"logits": logits, "features": features}


def as_pixels(pair: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """The digits' 17 shades as bytes."""
    return (pair[0] * 8 + 8).round().to(torch.uint8) * 15, pair[1]


MEAN = STD = (0.4705882,)


def test_pixels_and_the_floats_they_become_are_the_same(user: User) -> None:
    """No fine-tune: what it draws depends on the data's digest, and pixels have another one."""
    train, val = as_pixels(user.train), as_pixels(user.val)
    options = {
        **ONE,
        "finetune": {"after_layer": {"steps": 0}},
        "method": {"name": "agent", "min_updates": 2, "max_updates": 2},
    }
    one = prune(user.model, train, val, mean=MEAN, std=STD, **options)
    floats = [(normalise(images, like(MEAN, STD)), labels) for images, labels in (train, val)]
    other = prune(user.model, floats[0], floats[1], **options)
    costs = ["trial_id", *COST_COLUMNS["layers"]]
    pd.testing.assert_frame_equal(one.report.layers.drop(columns=costs), other.report.layers.drop(columns=costs))
    assert one.report.val_score == other.report.val_score
    assert one.report.test_score is None
    assert "test images" not in str(one.report)


def test_pixels_and_the_floats_they_become_train_alike(user: User) -> None:
    pixels, labels = as_pixels(user.train)
    floats = normalise(pixels, like(MEAN, STD))
    augment = shift_and_flip(1, flip=True)
    of_pixels = replace(like(MEAN, STD), train=Split(pixels, labels), augment=augment)
    of_floats = replace(like((), ()), train=Split(floats, labels), augment=augment)
    steps = list(train_batches(of_pixels, 64, 20, 3, torch.float32))
    others = list(train_batches(of_floats, 64, 20, 3, torch.float32))
    assert len(steps) == len(others) == 20
    for (images, targets), (other_images, other_targets) in zip(steps, others, strict=True):
        assert torch.equal(images, other_images)
        assert torch.equal(targets, other_targets)
        assert images.stride() == other_images.stride()


def like(mean: tuple[float, ...], std: tuple[float, ...]) -> Splits:
    """No images, only how they are normalised."""
    return Splits(None, None, None, 10, mean, std)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def scenes() -> tuple[nn.Module, list[tuple[Tensor, Tensor]]]:
    """A network for digit scenes and the scenes as normalised floats, labels int64 with -1 where there is none."""
    splits: Splits = DATASETS.build("digit_scenes", {"size": 32, "digits": 1, "num_train": 60, "num_val": 20})
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 12, 5, padding=2), nn.BatchNorm2d(12), nn.ReLU(), nn.Conv2d(12, 12, 5, padding=2), nn.ReLU(),
        nn.Conv2d(12, 11, 1),
    )  # fmt: skip
    pairs = []
    for split in (splits.train, splits.val):
        labels = split.labels_B.long()
        pairs.append((normalise(split.images_BCHW, splits), torch.where(labels == VOID, -1, labels)))
    optimiser = torch.optim.Adam(network.parameters(), 0.01)
    for step in range(40):
        some = slice(step % 3 * 20, step % 3 * 20 + 20)
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(pairs[0][0][some]), pairs[0][1][some], ignore_index=-1).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return network.eval(), pairs


def test_one_class_a_pixel(scenes: tuple[nn.Module, list[tuple[Tensor, Tensor]]]) -> None:
    network, (train, val) = scenes
    masks = val[0], val[1][:, None]  # as a transform of masks gives them
    settings = {"finetune": {"batch_size": 20}}
    found = prune(
        network, train, masks, 15.0, score="mean_iou", ignore_index=-1, layers=["0"], settings=settings, **FAST
    )
    with torch.no_grad():
        predicted = found.network(val[0]).argmax(1)
    known = val[1] >= 0
    ious = []
    for number in range(11):
        here, there = (predicted == number) & known, (val[1] == number) & known
        if (here | there).any():
            ious.append(float((here & there).sum() / (here | there).sum()))
    assert found.report.val_score == pytest.approx(100 * sum(ious) / len(ious), abs=1e-4)
    assert found.report.score_name == "mean_iou"
    assert found.report.params < found.report.baseline_params
    pictures = pd.read_parquet(found.trial_dir / "pictures.parquet")
    assert len(pictures) > 0  # float images can be shown too
    assert all(png[:4] == b"\x89PNG" for png in pictures["image"])


def test_networks_in_wrappers_and_with_several_outputs(user: User) -> None:
    def params(model: nn.Module, **more: Any) -> int:
        return prune(model, user.train, user.val, **{**ONE, **more}).report.params

    expected = params(user.model)
    frozen = copy.deepcopy(user.model).requires_grad_(False).train()
    assert params(nn.DataParallel(frozen)) == expected
    assert not frozen.body[0].weight.requires_grad
    assert params(torch.compile(user.model, backend="eager")) == expected  # type: ignore[arg-type]
    assert params(Several(user.model, alone=True), layers=["network.body.3"]) == expected
    assert params(Several(user.model, alone=False), layers=["network.body.3"], output="logits") == expected
    assert params(copy.deepcopy(user.model).double()) == expected


def test_a_loader_with_augmentation_is_read_once(user: User) -> None:
    train = DataLoader(TensorDataset(*user.train), batch_size=64, shuffle=True)
    val = DataLoader(TensorDataset(*user.val), batch_size=100)
    one, other = (prune(user.model, train, val, **ONE) for _ in range(2))
    assert one.trial_dir.name == other.trial_dir.name
    assert one.report.val_score == other.report.val_score


def test_own_copy_shares_nothing() -> None:
    model = SmallNet().train()
    copied = own_copy(model)
    assert not copied.training
    assert model.training
    assert not {t.data_ptr() for t in copied.state_dict().values()} & {
        t.data_ptr() for t in model.state_dict().values()
    }


REFUSED: list[tuple[Callable[[User], dict[str, Any]], str]] = [
    (
        lambda _: {"drop_bound": 0.02},
        "prune(): drop_bound: is in percentage points, not a fraction, and must be at least",
    ),
    (lambda _: {"settings": {"score_floor": 0.9}}, "prune(): score_floor: is in percent, not a fraction"),
    (lambda _: {"method": "magnitud"}, "no method is called 'magnitud'; did you mean 'magnitude'?"),
    (lambda _: {"layers": ["body.9"]}, "prune(): layers[0]: no prunable layer is called 'body.9'"),
    (lambda _: {"layers": "each"}, "prune() runs one trial; this is 2"),
    (lambda _: {"settings": {"finetun": 1}}, "prune(): finetun: is not a key here; did you mean 'finetune'?"),
    (lambda _: {"settings": {"seed": None}}, "prune(): seed: has no value (None); omit the key"),
    (lambda _: {"settings": {"scoring": {"threads": torch.tensor(1)}}}, "prune(): scoring.threads: must be text"),
    (lambda _: {"settings": {3: 1}}, "prune(): a key must be text; got 3"),
    (lambda _: {"settings": {"baseline": {"epochs": 3}}}, "settings: baseline cannot be set here"),
    (lambda _: {"settings": {"sweep": {"seed": [1]}}}, "settings: sweep cannot be set here"),
    (lambda _: {"settings": ["seed"]}, "settings: must be a mapping"),
    (lambda _: {"evaluators": -1}, "evaluators: must be an integer of at least 0; got -1"),
    (lambda _: {"mean": (0.5,), "std": (0.5,)}, "mean and std: are for uint8 images; these are floats"),
    (lambda u: {"train": (u.train[0].byte(), u.train[1])}, "the data: its val split: images are torch.float32"),
    (
        lambda u: {"train": (u.train[0].byte(), u.train[1]), "val": (u.val[0].byte(), u.val[1]), "mean": (0.5,)},
        "mean and std: give both; with neither",
    ),
    (lambda u: {"val": (u.val[0], u.val[1] + 5)}, "its val split: item "),
    (
        lambda u: {"val": (u.val[0][:, :, :4], u.val[1])},
        "its val split: images are (1, 4, 8), the training images (1, 8, 8)",
    ),
    (
        lambda u: {"train": (u.train[0].expand(-1, 3, -1, -1), u.train[1])},
        "model: the network cannot take images of (3,",
    ),
    (
        lambda u: {"train": (u.train[0][:9], u.train[1][:9])},
        "prune(): finetune.batch_size: must be at most 9, the number",
    ),
    (lambda u: {"model": torch.jit.script(u.model)}, "model: a scripted network cannot be traced"),
    (lambda u: {"model": copy.deepcopy(u.model).half()}, "model: must be float32 or float64, use model.float()"),
    (lambda u: {"model": u.model.state_dict()}, "model: must be a torch.nn.Module; got OrderedDict"),
    (lambda u: {"model": Several(u.model, alone=False)}, "several outputs (logits, features): name one with output"),
    (lambda u: {"model": SmallNet()}, "no better than chance"),
    (lambda u: {"score": "mean_iou"}, "mean_iou needs one class per pixel; the data set has one class per image"),
]


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(("make", "said"), REFUSED, ids=range(len(REFUSED)))
def test_what_cannot_be_used_is_a_sentence(user: User, make: Callable[[User], dict[str, Any]], said: str) -> None:
    options = {"model": user.model, "train": user.train, "val": user.val, **FAST, **make(user)}
    with pytest.raises(InputError) as caught:
        prune(**options)
    assert said in str(caught.value)


def test_a_trial_that_fails_tells_why(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no more memory")

    monkeypatch.setattr("raprune.trial.run.commit_within_bound", fail)
    with pytest.raises(RapruneError, match=r"prune\(\): RuntimeError: no more memory \(all of it: .*error.txt\)"):
        prune(user.model, user.train, user.val, **FAST)
