"""The shape of the code: imports point down, files stay small, tests assert something."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAX_LINES = 300

LAYERS = {
    0: ["errors", "output", "paths", "quitting", "seeds", "registry", "study", "results", "shipped"],
    1: [
        "data", "scoring", "chance", "deciding", "rewarding", "ordering", "evaluating", "masks", "search", "graph",
        "surgery", "proof", "measure", "train", "weights", "pretrained", "state", "workload", "engine", "baseline",
        "checkpoints", "fitting", "dense", "pictures", "imagefiles", "normalisation", "rounding", "memo", "lowrank",
        "budget", "given", "identity", "origins", "resuming", "val_order",
    ],
    2: ["models", "datasets", "scores", "methods", "orders", "rewards", "evaluators"],
    3: ["artefact", "candidates", "commit", "snapshots", "rows", "factorising", "trial", "preflight", "unimported"],
    4: ["launch", "estimate"],
    5: ["cli", "progress", "summary", "bench", "export", "api"],
}  # fmt: skip
LAYER_OF = {name: layer for layer, names in LAYERS.items() for name in names}
PLUGIN_KINDS = LAYERS[2]
RAY_IMPORTERS = {"launch", "evaluators"}


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def imports(path: Path, *, type_checking: bool = False) -> Iterator[tuple[str, int]]:
    """Absolute module names that a file imports, with their lines; those for type checkers only on request."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped: set[ast.AST] = set()
    if not type_checking:
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
                skipped.update(inner for part in node.body for inner in ast.walk(part))
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module, node.lineno


def part_of(path: Path) -> str:
    """The module or folder directly under raprune/ that a file belongs to."""
    relative = path.relative_to(ROOT / "raprune")
    return relative.parts[0].removesuffix(".py")


def test_every_module_has_a_layer() -> None:
    parts = {part_of(path) for path in python_files("raprune")} - {"__init__"}
    assert parts == set(LAYER_OF)


@pytest.mark.parametrize("path", python_files("raprune"), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    part = part_of(path)
    if part == "__init__":
        return
    for module, line in imports(path):
        if not module.startswith("raprune."):
            continue
        target = module.split(".")[1]
        if target == part or target == "analysis":
            continue
        assert LAYER_OF[target] <= LAYER_OF[part], f"{path}:{line}: {part} imports {target}, which is above it"
        both_plugins = part in PLUGIN_KINDS and target in PLUGIN_KINDS
        assert not both_plugins, f"{path}:{line}: plug-ins of {part} and {target} never import each other"


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
        if LAYER_OF.get(part_of(path)) == 0
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


@pytest.mark.parametrize(
    "path", python_files("raprune", "analysis", "tests", "benchmarks"), ids=lambda p: str(p.relative_to(ROOT))
)
def test_files_are_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


def test_every_test_asserts() -> None:
    silent = []
    for path in python_files("tests"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                text = ast.unparse(node)
                if not any(word in text for word in ("assert", "raises", "warns", "testing.", "agree(")):
                    silent.append(f"{path.name}::{node.name}")
    assert not silent
