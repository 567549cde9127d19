"""What is misspelt is told before anything slow is imported, together with what is wrong beside it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from raprune.errors import InputError, StudyError
from raprune.registry import KINDS
from raprune.study import read_study_file
from raprune.study.bundled import bundled_studies
from raprune.study.misspelt import refuse_misspelt
from raprune.study.own_code import own_plugin
from raprune.study.unimported import nothing_imported

GOOD = "name: x\nmodel: vgg16\ndataset: digits\n"


def told(tmp_path: Path, text: str, *overrides: str) -> list[str]:
    """What is said of a study: path and the first words of each message."""
    file = tmp_path / "study.yaml"
    file.write_text(GOOD + text)
    try:
        refuse_misspelt(read_study_file(file, overrides))
    except StudyError as error:
        return [f"{problem.path} {problem.message.partition(' (known')[0]}".strip() for problem in error.problems[:-1]]
    return []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("drop_bond: 2\n", ["drop_bond is not a key here; did you mean 'drop_bound'?"]),
        (
            "drop_bound: 2\nfinetune: {after_layer: {epoch: 1}}\n",
            ["finetune.after_layer.epoch is not a key here; did you mean 'epochs'?"],
        ),
        ("drop_bound: 2\nevaluators: {cout: 2}\n", ["evaluators.cout is not a key here; did you mean 'count'?"]),
        ("sweep: {drop_bond: [2]}\n", ["sweep.drop_bond is not a key of a trial; did you mean 'drop_bound'?"]),
        (
            "sweep: {finetune.momentun: [0.9], drop_bound: [1.0]}\n",
            ["sweep.finetune.momentun is not a key of a trial; did you mean 'momentum'?"],
        ),
        (
            "drop_bond: 2\nseed: one\n",
            ["drop_bond is not a key here; did you mean 'drop_bound'?", "seed must be an integer; got 'one'"],
        ),
    ],
)  # fmt: skip
def test_a_misspelt_key_is_told(tmp_path: Path, text: str, expected: list[str]) -> None:
    assert told(tmp_path, text) == expected


def test_an_override_may_be_misspelt(tmp_path: Path) -> None:
    assert told(tmp_path, "drop_bound: 2\n", "sede=1") == ["sede is not a key here; did you mean 'seed'?"]


@pytest.mark.parametrize("name", sorted(bundled_studies()))
def test_our_studies_have_no_unknown_key(name: str) -> None:
    for rehearse in (False, "rehearsal:" in bundled_studies()[name].read_text()):
        assert refuse_misspelt(read_study_file(bundled_studies()[name], (), rehearse)) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("method: tailor\n", ["method no method is called 'tailor'; did you mean 'taylor'?"]),
        (
            "method: {name: taylor, nun_images: 3}\nseed: one\n",
            ["method.nun_images is not a key here; did you mean 'num_images'?", "seed must be an integer; got 'one'"],
        ),
        ("method: {name: taylor, num_images: three}\n", ["method.num_images must be an integer; got 'three'"]),
        ("method: {name: taylor, num_images: 0}\n", ["method.num_images must be at least 1; got 0"]),
        (
            "sweep: {method: [taylor, {name: agent, learning_rat: 0.1}]}\n",
            ["sweep.method[1].learning_rat is not a key here; did you mean 'learning_rate'?"],
        ),
        ("sweep: {method.num_image: [10, 20]}\n",
         ["sweep.method.num_image is not a key here; did you mean 'num_images'?"]),
        ("scheduler: {name: asha, at_least_: 1}\n",
         ["scheduler.at_least_ is not a key here; did you mean 'at_least'?"]),
        ("evaluators: {engine: exakt}\n",
         ["evaluators.engine must be one of exact, naive; got 'exakt'; did you mean 'exact'?"]),
    ],
)  # fmt: skip
def test_plugins_are_known_by_their_source(tmp_path: Path, text: str, expected: list[str]) -> None:
    assert told(tmp_path, "drop_bound: 2\n" + text) == expected


OWN = "import no_such_package\ndef build(num_classes, width=3): ...\ndef load(**settings): ...\nsame = build\n"
STARRED = {
    "__init__": "from .more import *\n",
    "more": "from .cycle import *\n",
    "cycle": "from starred import *\nfrom starred.nets import *\n",
    "nets": "def build(): ...\n",
    "unknown": "from no_such_package import *\n",
    "beyond": "from ...outside import *\n",
    "dynamic": "from .lazy import *\n",
    "lazy": "def __getattr__(name): ...\n",
}


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("{import: 'own_nets:build', width: 4}", []),
        ("{import: 'own_nets:build', widht: 4}", ["model.widht is not a key here; did you mean 'width'?"]),
        ("{import: 'own_nets:buidl'}",
         ["model.import model 'own_nets:buidl' cannot be imported: own_nets has no 'buidl'; did you mean 'build'?"]),
        ("{import: 'own_net:build'}",
         ["model.import model 'own_net:build' cannot be imported: no module 'own_net' in FOLDERS; "
          "did you mean 'own_nets'?"]),
        ("{import: 'own_nets:load', anything: 4}", []),
        ("{import: 'own_nets:same', anything: 4}", []),
        ("{import: 'own_nets:Net.build', anything: 4}", []),
        ("{import: 'own_nets.inner:build', anything: 4}", []),
        ("{import: 'starred:build', anything: 4}", []),
        ("{import: 'starred:buidl'}",
         ["model.import model 'starred:buidl' cannot be imported: starred has no 'buidl'; did you mean 'build'?"]),
        ("{import: 'starred.more:buidl'}",
         ["model.import model 'starred.more:buidl' cannot be imported: starred.more has no 'buidl'; "
          "did you mean 'build'?"]),
        ("{import: 'starred.unknown:buidl'}", []),
        ("{import: 'starred.beyond:buidl'}", []),
        ("{import: 'starred.dynamic:buidl'}", []),
    ],
)  # fmt: skip
def test_a_users_own_code_is_read_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, expected: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_nets.py").write_text(OWN)
    (tmp_path / "starred").mkdir()
    for name, text in STARRED.items():
        (tmp_path / "starred" / f"{name}.py").write_text(text)
    said = told(tmp_path, "drop_bound: 2\n", f"model={model}")
    assert [re.sub(rf"in {re.escape(str(tmp_path))}, [^;]*", "in FOLDERS", line) for line in said] == expected
    assert "own_nets" not in sys.modules


def test_only_names_at_the_top_of_a_module_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text("WIDTH = 3\nclass Small:\n    def m(self, x): return x\ndef small(): y = 1\n")
    with pytest.raises(InputError) as caught:
        own_plugin("model", "nets:smal")
    assert str(caught.value).endswith("nets has no 'smal'; did you mean 'small'? (known: small, Small, WIDTH)")


@pytest.mark.parametrize("module", ["broken", "binary", "folder.inner", "folder"])
def test_a_module_without_readable_source_is_left_to_its_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.py").write_text("def build(:\n")
    (tmp_path / "binary.py").write_bytes(b"\xff\x00")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inner.py").write_text("from math import *\n")
    assert told(tmp_path, "drop_bound: 2\n", f"model={{import: '{module}:build', width: 4}}") == []


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_source_tells_what_an_import_tells(kind: str) -> None:
    with nothing_imported():
        read = {plugin.name: plugin for plugin in KINDS[kind]}
    assert list(read) == KINDS[kind].names()
    for plugin in KINDS[kind]:
        found, fields = read[plugin.name], plugin.settings.model_fields
        assert dict(found.declared) == dict(plugin.declared), plugin.name
        assert found.settings.model_fields.keys() == fields.keys(), plugin.name
        for key, field in found.settings.model_fields.items():
            free = field.annotation is Any
            assert free or str(field.annotation) == str(fields[key].annotation), (plugin.name, key)
            assert free or field.default == fields[key].default, (plugin.name, key)
            assert not field.is_required() or fields[key].is_required(), (plugin.name, key)
            assert not free or plugin.name == "image_folder", (plugin.name, key)  # changes its size and resize first


@pytest.mark.parametrize("command", ["check", "study"])
def test_nothing_slow_is_imported_before_something_misspelt(tmp_path: Path, command: str) -> None:
    pytest.importorskip("timm")
    file = tmp_path / "study.yaml"
    file.write_text(GOOD + "drop_bound: 2\n")
    (tmp_path / "own_nets.py").write_text("import torch\ndef build(width): ...\n")
    misspelt = {
        "drop_bond=2": "did you mean 'drop_bound'",
        "model.name=vgg61": "did you mean 'vgg16'",
        "model.widht=1": "did you mean 'width'",
        "dataset.num_vall=1": "did you mean 'num_val'",
        "model={import: 'own_nets:build', widht: 4}": "did you mean 'width'",
        "model.width=wide": "must be a number",
        "model={name: timm, network: resnet81x}": "did you mean 'resnet18'",
        "model={name: torchvision, network: resnet81}": "did you mean 'resnet18'",
        "model={name: torchvision_detection, network: ssd300_vgg61}": "did you mean 'ssd300_vgg16'",
        "model={import: 'torchvision.models:resnet81'}": "did you mean 'resnet18'",
        "model={import: 'timm.models:resnet81x'}": "did you mean 'resnet18'",
        "dataset={name: torchvision, dataset: FasionMNIST}": "did you mean 'FashionMNIST'",
    }
    code = (
        "import sys; from raprune.cli import main\n"
        f"for one in {list(misspelt)!r}:\n"
        f"    sys.argv[1:] = [{command!r}, {str(file)!r}, '--set', one]\n"
        "    try: main()\n"
        "    except SystemExit as stop: print(stop.code)\n"
        "print(sorted({'torch', 'torchvision', 'timm', 'ray', 'pandas', 'sklearn'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert found.stdout == "2\n" * len(misspelt) + "[]\n"
    told = [line for line in found.stderr.splitlines() if line.startswith("--set: ")]
    assert [expected in line for expected, line in zip(misspelt.values(), told, strict=True)] == [True] * len(misspelt)
