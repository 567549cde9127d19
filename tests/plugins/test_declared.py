"""What a plug-in can is declared where it is registered, and nothing else decides it."""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from raprune.plugins.methods.base import Asked, Evaluate, LayerView, Method, Ranking
from raprune.registry import METHODS, SCORES, Registry, Settings
from raprune.trial.asked import masks_at_once
from tests.study.texts import HEAD, only_trial, told
from tests.test_shape import MODULES

MATCHED = f"{HEAD}drop_bound: 2.0\nsweep:\n  method:\n    - magnitude\n    - {{name: toy, match: magnitude}}\n"


class Unranked(Method):
    """Has an ``order`` of another meaning: no ranking without scores."""

    def __init__(self, settings: Settings) -> None:
        self.order = 1

    def asked(self, num_filters: int, candidates: int | None) -> Asked:
        return Asked(7, (0, 0))

    def rank(self, layer: LayerView, evaluate: Evaluate, rng: torch.Generator) -> Ranking:
        return Ranking(())


@contextlib.contextmanager
def toy() -> Iterator[None]:
    METHODS.register("toy")(Unranked)
    try:
        yield
    finally:
        del METHODS._plugins["toy"]


def test_a_method_that_does_not_declare_a_ranking_cannot_be_matched(tmp_path: Path) -> None:
    rankers = ", ".join(plugin.name for plugin in METHODS if plugin.declared["ranks"])
    assert {"magnitude", "random"} <= set(rankers.split(", "))
    with toy():
        found = told(tmp_path, MATCHED)
    assert f"needs a method that ranks the filters ({rankers}); toy does not" in found


def test_the_scheduler_asks_the_method_how_many_masks_it_wants_at_once(tmp_path: Path) -> None:
    trial = only_trial(tmp_path, f"{HEAD}method: magnitude\ndrop_bound: 2.0\n")
    assert masks_at_once(trial) == 1
    toys = trial.method.model_copy(update={"name": "toy", "settings": {}})
    with toy():
        assert masks_at_once(trial.model_copy(update={"method": toys})) == 7


def test_a_plugin_without_what_its_kind_declares_is_refused() -> None:
    kind = Registry("animal", "tests.plugins", legs=int)
    with pytest.raises(AssertionError, match="the animal plug-in 'cat' must declare legs \\(int"):
        kind.register("cat")(type("Cat", (), {"legs": "four"}))
    kind.register("cat")(type("Cat", (), {"legs": 4}))
    assert kind._plugins["cat"].declared == {"legs": 4}


def test_a_users_own_score_declares_nothing() -> None:
    assert SCORES.get("psnr").declared == {"unit": "dB", "labels": "target"}
    assert SCORES.get("tests.plugins.test_declared:Unranked").declared == {}


def test_settings_have_no_problems_unless_they_say_so() -> None:
    assert Settings().problems() == Settings().remedies() == []


def test_an_argument_of_a_users_own_function_may_be_called_problems() -> None:
    settings = SCORES.get("tests.plugins.test_declared:Unranked").settings.model_validate({"problems": 3})
    assert settings.problems() == []
    assert settings.model_dump() == {"problems": 3}


def test_nothing_probes_what_is_registered() -> None:
    """What a plug-in can stands in ``Plugin.declared``."""
    probes = [
        f"{path}:{node.lineno}"
        for path in MODULES.values()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("getattr", "hasattr")
        if isinstance(node.args[0], ast.Attribute) and node.args[0].attr == "make"
    ]
    assert not probes
