"""The documents are true: columns, queries, links, commands, studies."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import duckdb
import pytest

from raprune.study import UnsoundStudy, load_study
from tests.api.networks import make_user
from tests.test_shape import ROOT

PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
STUDIES = sorted((ROOT / "studies").glob("*.yaml"))


def test_the_tables_of_the_results_page_are_the_schemas() -> None:
    printed = subprocess.run(
        [sys.executable, "scripts/result_tables.py"], cwd=ROOT, capture_output=True, text=True, check=True,
        env={"PYTHONPATH": str(ROOT)},
    ).stdout  # fmt: skip
    assert (ROOT / "docs" / "results.md").read_text().endswith(printed)


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), flags=re.DOTALL)


def test_the_duckdb_query_runs(reference: Path) -> None:
    (query,) = blocks(ROOT / "docs" / "results.md", "sql")
    found = duckdb.sql(query.replace("results/quickstart", str(reference))).df()
    assert set(found["method"]) == {"agent", "magnitude"}
    assert len(found) == 2 * 3
    assert found["pruning_ratio"].between(0, 1).all()


@pytest.mark.parametrize("number", [0, 1])
def test_the_pandas_queries_run(reference: Path, number: int, capsys: pytest.CaptureFixture[str]) -> None:
    code = blocks(ROOT / "docs" / "results.md", "python")[number]
    exec(compile(code.replace("results/quickstart", str(reference)), "docs/results.md", "exec"), {})
    assert "features.0" in capsys.readouterr().out or number == 0


def test_the_readme_reads_all_tables(reference: Path) -> None:
    found: dict[str, Any] = {}
    for code in blocks(ROOT / "README.md", "python")[1:]:
        if "polars" in code:
            pytest.importorskip("polars", reason="polars, which the extra dev installs, is missing")
        exec(compile(code.replace("results/quickstart", str(reference)), "README.md", "exec"), found)
    assert len(found["tables"].trials) == len(found["trials"]) == 6
    assert len(found["tables"].layers) == len(found["layers"]) == 6 * 3


def test_the_readme_prunes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The first lines of the README, on a small network."""
    code = blocks(ROOT / "README.md", "python")[0]
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), dict(vars(make_user())))
    assert (tmp_path / "smaller.pt2").is_file()
    assert "test images" in capsys.readouterr().out


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_python_on_the_page_imports_what_is_there(page: Path) -> None:
    """Of raprune, in all blocks: those that are not run by a test, too."""
    wanted = {
        (node.module, name.name)
        for code in blocks(page, "python")
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "raprune"
        for name in node.names
    }
    assert [name for name in wanted if not hasattr(import_module(name[0]), name[1])] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)", page.read_text())
    missing = [t for t in targets if not t.startswith("http") and not (page.parent / t).exists()]
    assert missing == []
    text = re.sub(r'^"""\S+', "", page.read_text(), flags=re.MULTILINE)  # examples, which say where they go
    named = re.findall(r"\b(?:studies|benchmarks|scripts|analysis|raprune|tests)/[\w/]+\.(?:py|yaml|sh)\b", text)
    assert [name for name in named if not (ROOT / name).is_file()] == []


@pytest.mark.parametrize("file", STUDIES, ids=lambda p: p.stem)
def test_every_study_loads(file: Path) -> None:
    has_rehearsal = "rehearsal:" in file.read_text()
    plan = load_study(file, layer_names=lambda _: ["features.0"], rehearse=has_rehearsal)
    assert plan.spec.name == file.stem + ("-rehearsal" if has_rehearsal else "")
    assert plan.trials
    if has_rehearsal:  # its data are not here; nothing else is wrong with it
        with pytest.raises(UnsoundStudy) as caught:
            load_study(file)
        assert {problem.path.partition(".")[0] for problem in caught.value.problems} == {"dataset"}
        assert caught.value.ways_on[-1].startswith(f"raprune study {file} --rehearse")
        assert caught.value.plan.spec.name == file.stem


def test_the_readme_study_is_valid(tmp_path: Path) -> None:
    text = next(b for b in blocks(ROOT / "README.md", "yaml") if "my_vgg" in b)
    for name in ("train.parquet", "test.parquet", "my_vgg16.safetensors"):
        (tmp_path / name).touch()
        text = text.replace(name, str(tmp_path / name))
    file = tmp_path / "my_vgg.yaml"
    file.write_text(text)
    assert len(load_study(file).trials) == 6
