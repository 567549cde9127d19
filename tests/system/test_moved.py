"""Code of a user's own that imports modules by their earlier names: it runs, and its fingerprint is what it was."""

from __future__ import annotations

import importlib
import subprocess
import sys
import types

import pytest

from raprune.identity import of_value
from raprune.plugins.datasets.base import Split, shift_and_flip
from raprune.plugins.models import vgg16
from raprune.plugins.scores.top1_accuracy import Top1Accuracy
from raprune.system.moved import MOVED, earlier_name


@pytest.mark.parametrize(("old", "new"), MOVED.items())
def test_an_earlier_name_is_todays_module(old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, old, raising=False)
    with pytest.warns(DeprecationWarning, match=f"{old} has moved: import {new} instead"):
        found = importlib.import_module(old)
    assert found is importlib.import_module(new)
    assert found.__spec__ is not None
    assert (found.__name__, found.__spec__.name) == (new, new)


def test_a_module_of_a_moved_package_is_loaded_once() -> None:
    code = (
        "import raprune.models.vgg16 as early, raprune.datasets.digits\n"
        "import raprune.plugins.models.vgg16 as today, raprune.plugins.datasets.digits\n"
        "print(early is today, raprune.models.vgg16.Vgg16 is today.Vgg16)"
    )
    found = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["True", "True"]


@pytest.mark.parametrize(
    ("value", "digest"),
    [
        (Split, "13e5d65ddcfae03a5bbe84cef15cc5e0"),
        (shift_and_flip, "ad9ade5e7c94e45e631dd6a2382d2343"),
        (vgg16.Vgg16, "aa8b37d8b03869844bc5506005e427cd"),
        (Top1Accuracy, "5f0da081b5eda4e2009dd6879b279b0a"),
        (types.SimpleNamespace(score=Top1Accuracy), "0c609217ad7c64ab1323461a6449f540"),
    ],
)
def test_fingerprints_go_by_the_earlier_names(value: object, digest: str) -> None:
    """Digests as the version before the move made them."""
    assert of_value(value) == digest


def test_what_never_moved_keeps_its_name() -> None:
    names = ("raprune", "raprune.api", "raprune.registry", "torch.nn", "rapruned.data", "raprune.database")
    assert [earlier_name(name) for name in names] == list(names)
    assert earlier_name("raprune.plugins.models.vgg16") == "raprune.models.vgg16"
