"""Texts from files are shown as they are on a terminal and in a report, and control neither."""

from __future__ import annotations

import io
from pathlib import Path
from xml.etree import ElementTree

import pytest

from analysis.plots import write_report
from raprune.cli import terminal
from raprune.results import TrialStore, write_json
from tests.analysis.make_tables import candidate_row, layer_row, manifest, trial_row, update_row
from tests.analysis.pages import bare, data_of

HOSTILE = "<script>alert(1)</script>\x1b[31m\u202e\0日本 пример [/bold]"


def test_a_terminal_is_not_steered(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr("sys.stdout", out)
    terminal.open_console(width=200).print("a\x1b[31m[bold]b\u202ec:smile: 日本 [/x]")
    assert out.getvalue() == "a\\x1b[31m[bold]b\\u202ec:smile: 日本 [/x]\n"


def test_a_table_of_hostile_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.table import Table

    out = io.StringIO()
    monkeypatch.setattr("sys.stdout", out)
    table = Table("a", title="[/x]\x1b")
    table.add_row(HOSTILE)
    terminal.print_whole(table, terminal.open_console())
    assert "[/bold]" in out.getvalue()
    assert not set("\x1b\0\u202e") & set(out.getvalue())


def _own(row: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in row.items() if key not in ("study", "trial_id")}


def test_a_report_of_hostile_texts(tmp_path: Path) -> None:
    text = ("method", "order", "model", "dataset", "reward", "residual", "fidelity", "score_name", "score_unit",
            "device", "preset")  # fmt: skip
    rows = [trial_row("t") | dict.fromkeys(text, HOSTILE), trial_row("u")]
    for row in rows:
        store = TrialStore(tmp_path, "made", str(row["trial_id"]))
        layer = _own(layer_row(str(row["trial_id"]), 0) | {"layer": HOSTILE, "role": HOSTILE})
        candidate = _own(candidate_row("t", HOSTILE, 0))
        store.write_layer(0, layer, [_own(update_row("t", HOSTILE, 0))], [candidate])
        store.write_trial(_own(row))
    said = manifest(rows) | {"study": HOSTILE, "description": HOSTILE, "command": ["raprune", HOSTILE]}
    write_json(tmp_path / "manifest.json", said | {"packages": {HOSTILE: HOSTILE}, "python": HOSTILE})
    page = write_report(tmp_path, formats=["svg"])
    html = bare(page.read_text())
    assert "alert(1)" in html
    assert "<script" not in html
    assert html.count("<") == html.count(">")
    assert "<script>alert(1)" in str(data_of(page.read_text()))  # plain data, inflated and shown as text
    pictures = list(page.parent.glob("*.svg"))
    assert pictures
    for file in (page, *pictures):
        assert not set("\x1b\0\u202e") & set(file.read_text())
    assert not set("\x1b\0\u202e") & set(str(data_of(page.read_text())))
    for file in pictures:
        tags = {element.tag.rpartition("}")[2] for element in ElementTree.parse(file).iter()}
        assert "script" not in tags
