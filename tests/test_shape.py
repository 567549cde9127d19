"""The shape of the code: imports point down, files stay small, tests assert something."""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from raprune.system.paths import PACKAGE

ROOT = Path(__file__).resolve().parents[1]
MAX_LINES, MAX_PARAMETERS = 300, 7

HOUSE = [
    "errors", "registry", "system", "study", "results", "identity", "network", "plugins", "engine", "baseline",
    "evaluators", "artefact", "trial", "launch", "preflight", "export", "bench", "console", "api", "cli",
]  # fmt: skip
"""The modules and folders of ``raprune/``: each imports only itself and those before it."""
PLUGINS = [
    "datasets", "scores", "rewards", "methods", "decisions", "orders", "allocations", "models", "samplers",
    "schedulers", "trackers",
]  # fmt: skip
"""The folders of ``raprune/plugins/``, in the same sense; of another kind only its contract is imported."""
WITHOUT_TORCH = HOUSE[: HOUSE.index("identity")]
RAY_IMPORTERS = {"launch", "evaluators"}


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    """``raprune.engine.train`` for ``raprune/engine/train.py``; a package for its ``__init__.py``."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in python_files("raprune")}
PACKAGES = [name for name, path in MODULES.items() if path.name == "__init__.py"]


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """Of a function, ``self`` aside."""
    taken = function.args
    every = [*taken.posonlyargs, *taken.args, *taken.kwonlyargs, taken.vararg, taken.kwarg]
    return [one.arg for one in every if one is not None and one.arg not in ("self", "cls")]


@dataclass(frozen=True)
class Read:
    """What the tests want to know of a file, from one look at all of its code."""

    said: str | None
    """Its docstring."""
    imports: list[tuple[str, int]]
    """What it imports, and the line."""
    relative: list[int]
    """Lines of relative imports."""
    functions: list[tuple[str, int, int]]
    """Name, line and number of parameters, ``self`` aside."""


@cache
def read(path: Path) -> Read:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = Read(ast.get_docstring(tree), [], [], [])
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.functions.append((node.name, node.lineno, len(parameters(node))))
        elif isinstance(node, ast.Import):
            found.imports.extend((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level:
            found.relative.append(node.lineno)
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            found.imports.extend((one if one in MODULES else node.module, node.lineno) for one in inner)
    return found


def imports(path: Path) -> list[tuple[str, int]]:
    """What a file imports, wherever in it: for type checkers and inside functions, too."""
    return read(path).imports


@cache
def edges() -> list[tuple[str, str, str]]:
    """Importing module, imported module, place: of all imports of ``raprune`` inside ``raprune/``."""
    return [
        (name, target, f"{path.relative_to(ROOT)}:{line}")
        for name, path in MODULES.items()
        for target, line in imports(path)
        if target in MODULES and target != name
    ]


def part_of(path: Path) -> str:
    """The module or folder directly under raprune/ that a file belongs to."""
    return path.relative_to(ROOT / "raprune").parts[0].removesuffix(".py")


def test_imports_are_absolute() -> None:
    assert not [f"{path}:{line}" for path in MODULES.values() for line in read(path).relative]


def test_the_root_tells_the_story() -> None:
    assert set(HOUSE) == {part_of(path) for path in python_files("raprune")} - {"__init__"}
    assert len(HOUSE) <= 20
    assert sum((ROOT / "raprune" / f"{name}.py").is_file() for name in HOUSE) <= 4


@pytest.mark.parametrize("package", sorted(set(PACKAGES) - {"raprune"}))
def test_each_folder_answers_a_question_in_its_first_line(package: str) -> None:
    assert read(MODULES[package]).said, f"{MODULES[package]} says nothing"


@pytest.mark.parametrize(("package", "order"), [("raprune", HOUSE), ("raprune.plugins", PLUGINS)])
def test_folders_import_only_those_before_them(package: str, order: list[str]) -> None:
    depth = package.count(".") + 1
    place = {name: number for number, name in enumerate(order)}
    up = [
        f"{where}: {name} imports {target}"
        for name, target, where in edges()
        if name.startswith(f"{package}.") and target.startswith(f"{package}.")
        if place[name.split(".")[depth]] < place[target.split(".")[depth]]
    ]
    assert not up


@pytest.mark.parametrize("package", PACKAGES)
def test_no_cycle(package: str) -> None:
    """Neither among the modules of a folder nor among its folders."""
    depth = package.count(".") + 1
    graph: dict[str, set[str]] = {}
    for name, target, _ in edges():
        if name.startswith(f"{package}.") and target.startswith(f"{package}."):
            ours, theirs = name.split(".")[depth], target.split(".")[depth]
            if ours != theirs:
                graph.setdefault(ours, set()).add(theirs)
    assert list(TopologicalSorter(graph).static_order()) is not None


def test_no_module_imports_a_package_that_imports_it() -> None:
    """The root is left out: it imports ``raprune.api`` only when a program asks for it."""
    graph: dict[str, set[str]] = {}
    for name, target, _ in edges():
        if name != "raprune":
            graph.setdefault(name, set()).add(target)
    assert list(TopologicalSorter(graph).static_order())


def test_plugins_import_of_other_kinds_only_the_contract() -> None:
    def kind(name: str) -> str:
        return name.split(".")[2] if name.startswith("raprune.plugins.") else ""

    crossing = [
        where
        for name, target, where in edges()
        if kind(name) and kind(target) and kind(name) != kind(target) and not target.endswith(".base")
    ]
    assert not crossing


def test_one_place_says_where_the_code_lies() -> None:
    users = {
        str(path.relative_to(ROOT)) for path in MODULES.values() if "(__file__)" in path.read_text(encoding="utf-8")
    }
    assert users == {"raprune/system/paths.py"}
    assert PACKAGE == ROOT / "raprune"


def test_only_launch_and_the_ray_evaluator_import_ray() -> None:
    users = {
        part_of(path) for path in python_files("raprune") for name, _ in imports(path) if name.split(".")[0] == "ray"
    }
    assert users == RAY_IMPORTERS


def test_only_the_study_reader_parses_yaml() -> None:
    users = {
        str(p.relative_to(ROOT))
        for p in python_files("raprune", "analysis")
        for name, _ in imports(p)
        if name == "yaml"
    }
    assert users == {"raprune/study/reader.py"}


def test_plain_data_imports_neither_torch_nor_ray() -> None:
    heavy = {
        (str(path), name)
        for path in python_files("raprune")
        if part_of(path) in WITHOUT_TORCH
        for name, _ in imports(path)
        if name.split(".")[0] in ("torch", "ray", "torchvision")
    }
    assert not heavy


def test_the_report_imports_only_the_results() -> None:
    ours = {name for path in python_files("analysis") for name, _ in imports(path) if name.startswith("raprune")}
    assert ours <= {"raprune.results", "raprune.results.schemas", "raprune.errors"}


def test_results_load_without_torch_and_ray() -> None:
    code = "import sys, raprune.results; print(sorted({'torch', 'ray', 'pydantic'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip() == "[]"


def test_files_are_short() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in python_files("raprune", "analysis", "tests", "benchmarks")
    }
    assert "tests/test_shape.py" in lengths
    assert {name: length for name, length in lengths.items() if length > MAX_LINES} == {}


def test_functions_take_few_parameters() -> None:
    """Commands and the library's front door aside: users see what those take."""
    front_door = ast.parse(MODULES["raprune.api"].read_text(encoding="utf-8"))
    exported = [name.value for node in ast.walk(front_door) if isinstance(node, ast.List) for name in node.elts]
    assert "prune" in exported
    many = [
        f"{path.relative_to(ROOT)}:{line} {name}"
        for path in MODULES.values()
        if part_of(path) != "cli"
        for name, line, number in read(path).functions
        if number > MAX_PARAMETERS
        if part_of(path) != "api" or name not in exported
    ]
    assert not many


def asserts(function: ast.FunctionDef) -> bool:
    """Whether something in it can fail: an assert, also in code as a text, or a call of what asserts."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Constant) and "assert " in str(node.value):
            return True
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if any(word in called for word in ("assert", "raises", "warns")) or called.endswith("agree"):
                return True
    return False


def test_every_test_asserts() -> None:
    silent = []
    for path in python_files("tests"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and not asserts(node):
                silent.append(f"{path.name}::{node.name}")
    assert not silent
