"""docs/library.md and the notebook run from top to bottom and print what they promise."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.test_docs import blocks
from tests.test_shape import ROOT

PAGE = ROOT / "docs" / "library.md"
NOTEBOOK = ROOT / "docs" / "notebooks" / "prune_your_own.ipynb"


def run(code: list[str], names: dict[str, Any]) -> None:
    for number, block in enumerate(code):
        exec(compile(block, f"{PAGE.name}, block {number}", "exec"), names)


def test_the_page_runs_but_for_what_takes_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    run([code for code in blocks(PAGE, "python") if "timm" not in code and "load_study" not in code], names)
    assert (tmp_path / "smaller.pt").is_file()
    assert names["result"].report.val_score_drop <= 2.0
    printed = capsys.readouterr().out
    for said in ("top1_accuracy on 280 validation images", "on 120 guard images", "top1_accuracy on test images"):
        assert said in printed


@pytest.mark.slow
def test_the_whole_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    run(blocks(PAGE, "python"), names)
    assert names["result"].completed
    assert "quickstart: 2 trials" in capsys.readouterr().out


def test_the_page_names_every_argument() -> None:
    import inspect

    from raprune.api import prune

    text = PAGE.read_text(encoding="utf-8")
    missing = [name for name in inspect.signature(prune).parameters if f"`{name}`" not in text]
    assert missing == []


@pytest.mark.slow
def test_the_notebook_runs_and_holds_no_outputs(tmp_path: Path) -> None:
    for module in ("nbclient", "ipykernel"):
        pytest.importorskip(module, reason=f"the notebook is run by {module}, which is not installed")
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "IPYTHONDIR": str(tmp_path / "ipython")}
    client = NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}})
    client.execute(env=environment)
    shown = [
        str(output.get("data", output.get("text"))) for cell in notebook.cells for output in cell.get("outputs", [])
    ]
    assert any("multiply-adds" in text and "<table" in text for text in shown)
    assert not any(output.output_type == "error" for cell in notebook.cells for output in cell.get("outputs", []))
