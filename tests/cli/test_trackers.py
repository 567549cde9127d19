"""``--tracker`` adds to what the study file has."""

from __future__ import annotations

from pathlib import Path

import pytest

from raprune.cli.trackers import with_trackers
from raprune.errors import StudyError
from raprune.study import load_study
from tests.fuzz.small import STUDY

OWN = "trackers: [{name: mlflow, uri: 'http://host:5000/\u00fc', experiment: 'a: b'}]\n"


@pytest.mark.parametrize(
    ("text", "names", "overrides", "found"),
    [
        (STUDY, ["tensorboard"], [], ["tensorboard"]),
        (OWN + STUDY, ["tensorboard"], [], ["mlflow", "tensorboard"]),
        (OWN + STUDY, ["mlflow", "wandb", "wandb"], [], ["mlflow", "wandb"]),
        (OWN + STUDY, ["wandb"], ["trackers=[tensorboard]"], ["tensorboard", "wandb"]),
    ],
)
def test_it_adds(tmp_path: Path, text: str, names: list[str], overrides: list[str], found: list[str]) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(text)
    trackers = load_study(file, with_trackers(file, names, overrides, False)).spec.trackers
    assert [one.name for one in trackers] == found
    for one in trackers:
        if one.name == "mlflow":
            assert (one.settings["uri"], one.settings["experiment"]) == ("http://host:5000/\u00fc", "a: b")


@pytest.mark.parametrize("text", [STUDY, OWN + STUDY])
def test_an_unknown_one_is_told(tmp_path: Path, text: str) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(text)
    with pytest.raises(StudyError, match=r"trackers.*no tracker is called 'wandbb'; did you mean 'wandb'"):
        load_study(file, with_trackers(file, ["wandbb"], [], False))
