"""What every plug-in of every kind owes its users: a summary, described settings, valid defaults."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from raprune.registry import KINDS, Plugin, Settings

SELF_EVIDENT = {"split_seed", "num_classes", "initial_keep_probability"}
"""Names that need no docstring."""
REQUIRED: dict[str, dict[str, Any]] = {
    "image_parquet": {"train": "train.parquet"},
    "camvid": {"root": "camvid"},
    "image_folder": {"root": "images"},
    "timm": {"network": "resnet18"},
    "model torchvision": {"network": "resnet18"},
    "torchvision_detection": {"network": "ssdlite320_mobilenet_v3_large"},
    "coco_detection": {"images": "folder", "annotations": "boxes.json"},
    "dataset torchvision": {"dataset": "FashionMNIST"},
    "dataset hugging_face": {"path": "folder"},
    "hugging_face_detection": {"path": "folder"},
}
"""Plug-in, with its kind where two kinds have the name -> a value for each setting without a default."""

EVERY = [pytest.param(plugin, id=f"{kind}-{plugin.name}") for kind, registry in KINDS.items() for plugin in registry]


def required(plugin: Plugin) -> dict[str, Any]:
    return REQUIRED.get(f"{plugin.kind} {plugin.name}") or REQUIRED.get(plugin.name, {})


def settings_of(plugin: Plugin) -> Settings:
    return plugin.settings.model_validate(required(plugin))


@pytest.mark.parametrize("plugin", EVERY)
def test_it_says_what_it_is(plugin: Plugin) -> None:
    assert plugin.summary.endswith(".")
    assert plugin.name == plugin.name.lower()
    assert plugin.name.isidentifier()
    assert KINDS[plugin.kind].get(plugin.name) is plugin


@pytest.mark.parametrize("plugin", EVERY)
def test_every_setting_is_described(plugin: Plugin) -> None:
    silent = [name for name, field in plugin.settings.model_fields.items() if not field.description]
    assert set(silent) <= SELF_EVIDENT


@pytest.mark.parametrize("plugin", EVERY)
def test_defaults_are_valid_and_survive_a_trial(plugin: Plugin) -> None:
    settings = settings_of(plugin)
    assert plugin.settings.model_validate(settings.model_dump(mode="json")) == settings


@pytest.mark.parametrize("plugin", EVERY)
def test_settings_are_frozen_and_refuse_unknown_keys(plugin: Plugin) -> None:
    with pytest.raises(ValidationError):
        plugin.settings.model_validate({**required(plugin), "no_such_setting": 1})
    for name in plugin.settings.model_fields:
        with pytest.raises(ValidationError):
            setattr(settings_of(plugin), name, 1)


@pytest.mark.parametrize("plugin", EVERY)
def test_settings_leave_the_keys_that_a_study_means(plugin: Plugin) -> None:
    assert not {"name", "match"} & set(plugin.settings.model_fields)


@pytest.mark.parametrize("plugin", EVERY)
def test_settings_refuse_what_is_not_finite(plugin: Plugin) -> None:
    for name, field in plugin.settings.model_fields.items():
        if field.annotation is float:
            for value in (float("nan"), float("inf"), "1.0", True):
                with pytest.raises(ValidationError):
                    plugin.settings.model_validate({**required(plugin), name: value})
