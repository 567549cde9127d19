"""Every sampler suggests allowed values, as a pure function of its arguments."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from raprune.plugins.samplers.base import Axis, Sampler, Seen
from raprune.registry import SAMPLERS, Plugin

every = pytest.mark.parametrize("plugin", [pytest.param(plugin, id=plugin.name) for plugin in SAMPLERS])
AXES = [
    Axis("drop_bound", low=0.5, high=8.0),
    Axis("learning_rate", low=1e-4, high=0.1, log=True),
    Axis("round_to", low=1, high=8, whole=True),
    Axis("even", low=2, high=10, step=2, whole=True),
    Axis("half", low=0.5, high=3.0, step=0.5),
    Axis("order", choices=("low_to_high", {"name": "random", "seed": 3}, None)),
]


def build(plugin: Plugin, **settings: Any) -> Sampler:
    found = plugin.settings.model_validate(settings)
    if problems := found.problems():
        pytest.skip(problems[0][1])
    sampler: Sampler = plugin.make(found)
    return sampler


def seen_by(sampler: Sampler, number: int) -> list[Seen]:
    points = [sampler.suggest(AXES, [], i) for i in range(number)]
    ranked = sorted(range(number), key=lambda i: abs(points[i]["drop_bound"] - 4.0))
    return [Seen(point, None if i % 5 == 4 else ranked.index(i)) for i, point in enumerate(points)]


@every
def test_every_value_is_allowed(plugin: Plugin) -> None:
    sampler, drawn = build(plugin), []
    seen = seen_by(sampler, 12)
    for number in range(20):
        point = sampler.suggest(AXES, seen, number)
        drawn.append(point)
        assert list(point) == [axis.key for axis in AXES]
        assert 0.5 <= point["drop_bound"] <= 8
        assert 1e-4 <= point["learning_rate"] <= 0.1
        assert point["round_to"] in range(1, 9)
        assert type(point["round_to"]) is int
        assert point["even"] in (2, 4, 6, 8, 10)
        assert point["half"] * 2 in range(1, 7)
        assert point["order"] in AXES[-1].choices
        assert all(axis.value(axis.number(point[axis.key])) == point[axis.key] for axis in AXES)
    assert len({point["drop_bound"] for point in drawn}) > 3


@every
def test_a_grid_is_kept(plugin: Plugin) -> None:
    """Whether or not the range is a multiple of the step, and however many digits its numbers have."""
    sampler = build(plugin, **({"num_random": 2} if plugin.name == "optuna" else {}))
    axes = {
        Axis("fine", low=0.5, high=4.0, step=0.0625): [0.5 + number / 16 for number in range(57)],
        Axis("thirds", low=0.0, high=1.0, step=1 / 3): [0.0, 0.333333333333, 0.666666666667, 1.0],
        Axis("short", low=0.0, high=1.0, step=0.35): [0.0, 0.35, 0.7],
        Axis("whole", low=0, high=10, step=4, whole=True): [0, 4, 8],
        Axis("narrow", low=0.9999, high=0.99999): [],
        Axis("alike", choices=(1, True, 0, False)): [],
    }
    seen: list[Seen] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in range(24):
            seen.append(Seen(sampler.suggest(list(axes), seen, number), number))
    for axis, allowed in axes.items():
        found = [one.point[axis.key] for one in seen]
        assert all(value in allowed for value in found) or not allowed, axis
        assert len({repr(value) for value in found}) > 2, axis
        assert all(repr(axis.value(axis.number(value))) == repr(value) for value in found), axis


@every
def test_the_same_again_and_another_for_another_number_or_seed(plugin: Plugin) -> None:
    seen = seen_by(build(plugin), 12)
    first = build(plugin).suggest(AXES, seen, 7)
    assert build(plugin).suggest(AXES, seen, 7) == first
    assert build(plugin).suggest(AXES, seen, 8) != first
    if "seed" in plugin.settings.model_fields:
        assert build(plugin, seed=1).suggest(AXES, seen, 7) != first
