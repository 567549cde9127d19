"""docs/CONTRIBUTING.md is true: its map is the house, its picture the imports, and its recipes work."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from raprune.registry import KINDS
from raprune.results import SCHEMA_VERSION
from tests.test_docs import blocks
from tests.test_shape import HOUSE, MODULES, ROOT, edges, imports, python_files

GUIDE = ROOT / "docs" / "CONTRIBUTING.md"
EXAMPLES = ROOT / "docs" / "plugins.md"
EVERYWHERE = {"errors", "registry", "system"}
"""Parts that all others may use: they stand in no picture."""
OUTSIDE = {"file", "report"}
"""Nodes of the picture that are not code of ours."""


def rows(heading: str) -> list[list[str]]:
    """Cells of the first table under a heading of the guide."""
    (section,) = re.findall(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", GUIDE.read_text(), re.DOTALL | re.MULTILINE)
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def first_line(part: str) -> str:
    doc = ast.get_docstring(ast.parse(MODULES[f"raprune.{part}"].read_text(encoding="utf-8")))
    return (doc or "").splitlines()[0].replace("``", "`")


def test_the_map_is_the_house() -> None:
    table = rows("The map")
    folders = [name for name in HOUSE if MODULES[f"raprune.{name}"].name == "__init__.py"]
    assert [name for name, _ in table] == [f"`{name}/`" if name in folders else f"`{name}.py`" for name in HOUSE]
    answers = dict(zip(HOUSE, (answer for _, answer in table), strict=True))
    assert {name: answers[name] for name in folders} == {name: first_line(name) for name in folders}


def arrows() -> list[tuple[str, str, str]]:
    """Tail, kind (``-->`` or ``-.->``) and head of every arrow of the picture."""
    (picture,) = blocks(GUIDE, "mermaid")
    found = re.findall(r"^ +(\w+)(?:\[.*?\])? (-->|-\.->|-\. .+? \.->)(?:\|.*?\|)? (\w+)", picture, re.MULTILINE)
    assert len(found) == len(picture.splitlines()) - 1  # the first says in which direction it flows
    return [(tail, kind if kind == "-->" else "-.->", head) for tail, kind, head in found]


def uses() -> set[tuple[str, str]]:
    """Pairs of parts, ``analysis`` among them: the first imports the second."""
    pairs = {(name.split(".")[1], target.split(".")[1]) for name, target, _ in edges() if "." in name and "." in target}
    targets = {name for path in python_files("analysis") for name, _ in imports(path) if name.startswith("raprune.")}
    return pairs | {("analysis", target.split(".")[1]) for target in targets}


def test_the_picture_shows_what_the_code_imports() -> None:
    real, drawn = uses(), arrows()
    ours = [(tail, kind, head) for tail, kind, head in drawn if not {tail, head} & OUTSIDE]
    untrue = [
        (tail, head) for tail, kind, head in ours if ((tail, head) if kind == "-->" else (head, tail)) not in real
    ]
    assert untrue == []
    assert {name for tail, _, head in drawn for name in (tail, head)} - OUTSIDE == {*HOUSE, "analysis"} - EVERYWHERE


@dataclass(frozen=True)
class Example:
    """A file that stands on the page of examples."""

    kind: str
    path: Path
    code: str

    @property
    def name(self) -> str:
        return self.path.stem


def examples() -> list[Example]:
    text = EXAMPLES.read_text()
    found = re.findall(r'^## (\w+)\n(?:(?!^## ).)*?```python\n("""([\w/.]+).*?)```', text, re.DOTALL | re.MULTILINE)
    return [Example(kind, Path(path), code) for kind, code, path in found]


def test_every_kind_has_a_folder_tests_and_one_example_in_it() -> None:
    table = {
        kind: (folder.strip("`"), tests.strip("`"))
        for kind, folder, _, tests in rows("To add a plug-in, write one file")
    }
    assert set(table) == {*KINDS, "figure"}
    assert [example.kind for example in examples()] == list(table)
    for example in examples():
        folder, tests = table[example.kind]
        assert f"{example.path.parent}/" == folder
        assert (ROOT / folder).is_dir()
        assert (ROOT / tests).is_file()
        assert not (ROOT / example.path).exists()


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code with every example written where it says."""
    folder = tmp_path_factory.mktemp("copy")
    for name in ("raprune", "analysis", "tests", "scripts"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy(ROOT / "pyproject.toml", folder)
    for example in examples():
        (folder / example.path).write_text(example.code)
    return folder


def run(copy: Path, *arguments: str) -> str:
    """What ``python`` prints in the copy."""
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_every_example_passes_the_tests_of_its_kind(copy: Path) -> None:
    table = {kind: tests.strip("`") for kind, _, _, tests in rows("To add a plug-in, write one file")}
    tried = [example for example in examples() if example.kind != "evaluator"]  # whose tests need Ray
    suites = sorted({table[example.kind] for example in tried})
    chosen = " or ".join(f"{sign % example.name}" for example in tried for sign in ("[%s", "-%s]", "-%s-"))
    chosen = f"({chosen}) and not told_of_it"  # the help and the page name what ships, not examples
    printed = run(copy, "-m", "pytest", *suites, "-vv", "-p", "no:cacheprovider", "-k", chosen)
    for example in tried:
        (suite, _), passed = table[example.kind].split(".py"), [x for x in printed.splitlines() if " PASSED" in x]
        assert sum(suite in line and example.name in line for line in passed) >= 2, f"{example.path}\n{printed}"


def test_the_example_of_an_evaluator_scores_like_the_serial_twin(copy: Path) -> None:
    code = """
from types import SimpleNamespace

import torch
from raprune.evaluators import timed
from raprune.registry import EVALUATORS
from raprune.study.parts import EvaluatorsSpec
from tests import tiny

network = tiny.lively_vgg()
engine = tiny.engine_of(network, tiny.own_labels(network, 40))
masks = [torch.arange(8) < kept for kept in (3, 5)]
twin = tiny.candidates_of(engine, "features.10", 2.0)(masks)
ours = EVALUATORS.build("timed", EvaluatorsSpec().model_dump(), engine.workload, SimpleNamespace(of=lambda _: engine))
tiny.EngineEvaluator = lambda _: ours
assert tiny.candidates_of(engine, "features.10", 2.0)(masks) == twin and ours.seconds > 0
assert timed.__file__.startswith(FOLDER)
""".replace("FOLDER", repr(str(copy)))
    assert run(copy, "-c", code) == ""


def test_the_examples_are_as_tidy_as_the_code(copy: Path) -> None:
    files = [str(example.path) for example in examples()]
    assert "All checks passed" in run(copy, "-m", "ruff", "check", *files)
    assert "already formatted" in run(copy, "-m", "ruff", "format", "--check", *files)


def test_the_recipe_of_a_column_names_the_version_that_it_raises() -> None:
    assert f"schema version ({SCHEMA_VERSION})" in (ROOT / "docs" / "results.md").read_text()
