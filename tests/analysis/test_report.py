"""The report end to end, from shards on disk to a page."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from analysis import plots
from analysis.figures import matched, pictures, single_layer, trade_off
from analysis.files import FORMATS
from analysis.plots import told, write_report
from raprune.errors import ResultsError
from raprune.results import Tables
from tests.analysis.cases import CASES
from tests.analysis.make_tables import make_tables, trial_row, unfinished_row, write_study
from tests.analysis.pages import data_of, frame_of, html_of

ROOT = Path(__file__).resolve().parents[2]
SLOW = pytest.mark.slow


def referenced(page: str) -> set[str]:
    return set(re.findall(r'(?:src|href)="([^"#]+)"', page))


FEW = (trade_off, matched, single_layer, pictures)
"""Figures with data in the table that go to files of their own ways: points, bars, a grid, images."""


@pytest.fixture(scope="module", params=[FEW, pytest.param(None, marks=SLOW)], ids=["some figures", "all figures"])
def study(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A study on disk with its report in all formats, and a trial that its study file no longer plans."""
    folder = tmp_path_factory.mktemp("results") / "made"
    with pytest.MonkeyPatch.context() as patch:
        if request.param is not None:
            patch.setattr(plots, "figure_modules", lambda: list(request.param))
        yield make_study(folder)


def make_study(folder: Path) -> Path:
    write_study(folder, make_tables([trial_row("stale-trial", method="stale-method", pruning_ratio=0.99)]))
    write_study(folder, CASES["everything"])
    write_report(folder, formats=FORMATS)
    return folder


def test_the_page_links_to_the_files_that_were_asked_for(study: Path) -> None:
    page = (study / "report" / "index.html").read_text(encoding="utf-8")
    names = [module.__name__.rpartition(".")[2] for module in plots.figure_modules()]
    files = {f"{name}.{kind}" for name in names for kind in ("png", "svg", "csv", "tex")}
    assert referenced(page) <= files
    assert {file.name for file in (study / "report").iterdir()} == files | {"index.html"}
    for file in files:
        assert (study / "report" / file).stat().st_size > 100


def test_a_figures_table_holds_no_bytes(study: Path) -> None:
    lines = (study / "report" / "pictures.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + 6
    assert "change" in lines[0]
    assert "PNG" not in "".join(lines)


def test_pictures_are_pictures(study: Path) -> None:
    assert (study / "report" / "trade_off.png").read_bytes().startswith(b"\x89PNG")
    svg = (study / "report" / "trade_off.svg").read_text(encoding="utf-8")
    assert "<svg" in svg
    assert "filters pruned (%)" in svg  # letters stay letters


def test_trials_that_are_not_planned_any_more_are_not_shown(study: Path) -> None:
    assert (study / "trials" / "stale-trial" / "trial.parquet").is_file()
    for file in (study / "report").iterdir():
        if file.suffix in (".html", ".csv", ".svg", ".tex"):
            assert "stale" not in file.read_text(encoding="utf-8")
    page = (study / "report" / "index.html").read_text(encoding="utf-8")
    assert "stale" not in str(data_of(page))


def test_the_same_rows_give_the_same_report_and_older_files_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "figure_modules", lambda: list(FEW))
    folder = write_study(tmp_path / "made", make_tables([trial_row("only")]))
    out = folder / "report"
    out.mkdir()
    (out / "matched.png").write_bytes(b"from a study with matched trials")
    (out / "mine.png").write_bytes(b"not a figure of ours")
    write_report(folder, formats=["png", "csv"])
    first = {file.name: file.read_bytes() for file in out.iterdir()}
    write_report(folder, formats=["png", "csv"])
    assert {file.name: file.read_bytes() for file in out.iterdir()} == first
    assert "matched.png" not in first
    assert {"trade_off.png", "trade_off.csv", "mine.png"} < set(first)
    number = len([name for name in first if name.endswith(".csv")])
    said = told(out / "index.html", ["png", "csv"])
    assert said == [
        f"report: {out / 'index.html'}",
        f"{number} figure{'' if number == 1 else 's'} as png, csv in {out}",
    ]
    write_report(folder)
    assert {file.name for file in out.iterdir()} == {"index.html", "mine.png"}
    assert told(out / "index.html") == said[:1]


@pytest.mark.parametrize("case", ["empty", "failed only"])
def test_a_study_without_a_completed_trial_has_a_page(case: str, tmp_path: Path) -> None:
    page = write_report(write_study(tmp_path / "made", CASES[case])).read_text(encoding="utf-8")
    assert not referenced(page)
    assert "No data for:" in page
    assert "0 of " in page


OTHERS = ["empty", "failed only", "one trial", "odd names", "partner gone", "everything"]
"""States of a study whose pages differ most; the figures of all of them are in test_figures.py."""


@pytest.mark.parametrize("case", [case if case in OTHERS else pytest.param(case, marks=SLOW) for case in CASES])
def test_every_study_has_a_page_without_leftovers(case: str) -> None:
    page = html_of(CASES[case])
    assert page.startswith("<!doctype html>")
    assert not re.search(r"\b(nan|None|NaT|<NA>)\b", page)


def test_a_name_or_a_description_cannot_break_the_page() -> None:
    evil = "<script>alert('x')</script> & \"quotes\""
    rows = [trial_row("t", method=evil), unfinished_row("f", "failed", f"{evil}\n{evil}", order=evil)]
    tables = make_tables(rows, description=evil, study=evil, command=["raprune", evil], preset=evil)
    page = html_of(tables)
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 6
    assert "&amp; &quot;quotes&quot;" in page


def test_scores_have_their_unit() -> None:
    page = frame_of(make_tables([trial_row("t", score_name="psnr", score_unit="dB")]))
    assert "<b>99.0 dB</b>baseline psnr on 500 validation images; 99.2 dB after the same" in page
    assert "Scores are in dB, drops" in page
    old = frame_of(make_tables([trial_row("t", score_unit=None)]))
    assert "<b>99.0%</b>baseline top1_accuracy on" in old
    assert "Scores are in percent, drops" in old


def test_failures_are_shown_with_all_that_is_known() -> None:
    error = "EvaluatorError: mask 3 failed four times\nhost node7\nTraceback (most recent call last)"
    rows = [trial_row("good"), unfinished_row("bad", "failed", error), unfinished_row("mute", "failed", None)]
    page = frame_of(make_tables(rows))
    assert "2 trials failed" in page
    assert '#trial=bad">bad</a>: EvaluatorError: mask 3 failed four times' in page
    assert "host node7\nTraceback" in page
    assert "no error was recorded" in page
    assert "id='failures'" not in frame_of(make_tables([trial_row("good")]))


def test_trials_to_come_and_stopped_ones_are_listed() -> None:
    rows = [trial_row("good"), unfinished_row("cut", "stopped", None)]
    axes = {"later": {"drop_bound": "4.0", "method": "agent"}}
    page = frame_of(make_tables(rows, trial_ids=["good", "cut", "later"], axes=axes))
    assert "1 of 3" in page
    assert "drop_bound 4.0, method agent: not ended yet" in page
    assert ">stopped</td>" in page


def test_a_dominated_trial_says_so() -> None:
    rows = [trial_row("good"), trial_row("cut", status="stopped", stopped_by="dominated", num_layers_decided=2)]
    assert "agent (others dominated it: 2 of 3 layers decided)" in frame_of(make_tables(rows))


def test_a_trial_that_a_budget_stopped_shows_its_numbers_and_is_marked() -> None:
    rows = [trial_row("good"), trial_row("cut", status="stopped", num_layers_decided=2)]
    page = frame_of(make_tables(rows))
    assert "<b>1</b>trial stopped" in page
    (row,) = re.findall(r"<tr class='stopped'>(.*?)</tr>", page)
    shown = re.findall(r"<td[^>]*>(.*?)</td>", row)
    assert shown[1] == "agent (stopped: 2 of 3 layers decided)"
    assert shown[5:8] == ["40.0%", "75.0%", "50.0%"]


def test_a_trial_that_a_budget_stopped_in_a_joint_pass_does_not_look_complete() -> None:
    rows = [trial_row("good"), trial_row("cut", status="stopped", num_layers=3, num_layers_decided=3)]
    assert "agent (stopped: all 3 layers decided, but not all that follows)" in frame_of(make_tables(rows))


def cells(tables: Tables) -> list[list[str]]:
    """The rows of the page's table of trials."""
    table = re.search(r"<tbody>(.*?)</tbody>", frame_of(tables), flags=re.S)
    assert table
    rows = re.findall(r"<tr>(.*?)</tr>", table[1], flags=re.S)
    return [re.findall(r"<td[^>]*>(.*?)</td>", row, flags=re.S) for row in rows]


def test_only_matched_trials_are_called_matched() -> None:
    partner = trial_row("p", drop_bound=4.0)
    follower = trial_row("f", method="random", drop_bound=None, matched_trial_id="p")
    first, second = cells(make_tables([partner, follower]))
    assert first[1:5] == ["agent", "low_to_high", "4", "0"]
    assert second[1:5] == ["random (matched)", "low_to_high", "4", "0"]


def test_what_is_removed_is_worked_out_by_hand() -> None:
    (row,) = cells(make_tables([trial_row("t")]))
    assert row[5:] == ["40.0%", "75.0%", "50.0%", "98.0", "+1.0", "96.5", "+1.5", "0 of 3", "1,234", "56.7k", "12"]


def test_a_drop_over_its_bound_is_told() -> None:
    over = trial_row("over", drop_bound=0.5)
    page = frame_of(make_tables([over, trial_row("m", drop_bound=None, matched_trial_id="over")]))
    assert "1 trial over the bound" in page
    assert page.count("<td class='failed'>+1.0</td>") == 1
    assert "over the bound</h2>" not in frame_of(make_tables([trial_row("exact", drop_bound=1.0)]))


def test_the_guards_drop_has_its_limit_beside_it() -> None:
    guard = {"guard_score_drop": 0.67, "score_drop_limit": 2.31}
    page = frame_of(make_tables([trial_row("a", **guard), trial_row("b", pruning_ratio=0.3)]))
    assert page.count("guard drop (limit)") == 1
    assert "<td>+0.7 (+2.3)</td>" in page
    assert "guard drop (limit)" not in frame_of(make_tables([trial_row("a")]))


def test_without_a_test_split_there_are_no_test_columns() -> None:
    (row,) = cells(make_tables([trial_row("t", baseline_test_score=None, test_score=None, test_score_drop=None)]))
    assert row[8:] == ["98.0", "+1.0", "0 of 3", "1,234", "56.7k", "12"]


def run_script(*arguments: str, stubs: Path) -> subprocess.CompletedProcess[str]:
    """The script, from elsewhere, in an interpreter that has neither torch nor ray (CI names one that has neither)."""
    stubs.mkdir(exist_ok=True)
    for name in ("torch", "ray"):
        (stubs / f"{name}.py").write_text(f"raise ImportError('no {name} here')\n")
    return subprocess.run(
        [os.environ.get("RAPRUNE_REPORT_PYTHON", sys.executable), str(ROOT / "analysis" / "plots.py"), *arguments],
        env=os.environ | {"PYTHONPATH": str(stubs)}, cwd=stubs, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_runs_as_a_script_without_torch_and_ray(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "made", make_tables([trial_row("only")]))
    done = run_script(str(folder), stubs=tmp_path / "stubs")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == f"report: {folder / 'report' / 'index.html'}"
    assert (folder / "report" / "index.html").is_file()


def test_a_folder_without_a_study_is_a_sentence_and_exit_code_2(tmp_path: Path) -> None:
    done = run_script(str(tmp_path), stubs=tmp_path / "stubs")
    assert done.returncode == 2
    assert done.stderr.strip() == f"{tmp_path} contains no study (no manifest.json)"
    assert not (tmp_path / "report").exists()
    bare = run_script(stubs=tmp_path / "stubs")
    assert bare.returncode == 2
    assert bare.stderr.startswith("usage:")


def test_a_study_of_a_newer_raprune_is_refused(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "made", make_tables([], schema_version=999))
    with pytest.raises(ResultsError, match="schema version 999"):
        write_report(folder)
