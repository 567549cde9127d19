"""Several studies in one report, and the files beside it."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from analysis.figures import trade_off
from analysis.latex import escaped, tabular
from analysis.plots import write_report
from analysis.studies import read_report
from raprune.errors import InputError, ResultsError
from tests.analysis.make_tables import make_tables, trial_row, write_study
from tests.analysis.pages import bare, data_of


def studies(tmp_path: Path, **changes: object) -> list[Path]:
    """Two studies of the same name, trials and settings but for ``changes`` of the second."""
    first = write_study(tmp_path / "one" / "made", make_tables([trial_row("t"), trial_row("u", method="magnitude")]))
    rows = [trial_row("t", **changes), trial_row("u", method="magnitude", **changes)]
    return [first, write_study(tmp_path / "two" / "made", make_tables(rows))]


def test_studies_are_compared_by_the_settings_that_differ(tmp_path: Path) -> None:
    one, two = studies(tmp_path, model_settings=json.dumps({"width": 0.5}), pruning_ratio=0.6)
    tables = read_report([one, two]).tables
    frame = trade_off.select(tables)
    assert set(frame["context"]) == {"vgg16", "vgg16 (width 0.5)"}
    assert len(frame) == 4 * 2  # trials and splits
    assert tables.trials["trial_id"].is_unique
    assert set(tables.layers["trial_id"]) == set(tables.trials["trial_id"])


def test_studies_that_differ_in_no_setting_are_told_apart_by_name(tmp_path: Path) -> None:
    one, two = studies(tmp_path)
    report = read_report([one, two])
    frame = trade_off.select(report.tables)
    assert set(frame["context"]) == {f"made ({one})", f"made ({two})"}
    assert report.homes["t"] == one / "trials" / "t"
    assert report.homes[f"made ({two})/t"] == two / "trials" / "t"
    assert report.folders == [one, two]


def test_the_page_of_several_studies(tmp_path: Path) -> None:
    one, two = studies(tmp_path, drop_bound=4.0)
    page = write_report(one, two, out=tmp_path / "both").read_text(encoding="utf-8")
    html = bare(page)
    assert "a comparison of studies" in html
    assert html.count("<td class='medium text'>made (") == 4
    views = data_of(page)["trials"]
    assert [view["home"] for view in views.values()] == [str(f / "trials" / t) for f in (one, two) for t in "tu"]
    assert not (one / "report").exists()


def test_a_matched_trial_keeps_its_partner_under_its_new_name(tmp_path: Path) -> None:
    rows = [trial_row("t"), trial_row("m", method="random", drop_bound=None, matched_trial_id="t")]
    folders = [write_study(tmp_path / name / "made", make_tables(rows)) for name in ("one", "two")]
    trials = read_report(folders).tables.trials.set_index("trial_id")
    partners = trials["matched_trial_id"].dropna()
    assert partners.tolist() == ["t", f"made ({folders[1]})/t"]
    assert set(partners) < set(trials.index)


def test_several_studies_need_a_place_and_no_study_comes_twice(tmp_path: Path) -> None:
    one, two = studies(tmp_path)
    with pytest.raises(InputError, match="say where with --out DIR"):
        write_report(one, two)
    with pytest.raises(InputError, match="given twice"):
        write_report(one, one / ".", out=tmp_path / "both")
    with pytest.raises(ResultsError, match="contains no study"):
        write_report(one, tmp_path, out=tmp_path / "both")
    with pytest.raises(InputError, match="--format pdf is unknown; known are png, svg, csv, latex"):
        write_report(one, formats=["pdf"])
    assert not (tmp_path / "both").exists()


def test_latex_prints_texts_as_they_are() -> None:
    assert escaped(r"a_b & 50% #1 {x} \y ~ ^ $ −0.5") == (
        r"a\_b \& 50\% \#1 \{x\} \textbackslash{}y \textasciitilde{} \textasciicircum{} \$ $-$0.5"
    )


def test_latex_reads_no_cell_as_an_option_or_another_sign() -> None:
    """Compiled with pdfTeX and XeTeX (TeX Live 2022): ``\\\\`` and booktabs' rules take what follows in brackets."""
    heads = pd.DataFrame({"[first]": ["[1, 2]", "* star"], "words": ["--set a=b", "''x,, ≤ 2 → 1"]})
    lines = tabular(heads).splitlines()
    assert lines[4] == r"{[}first] & words \\"
    assert lines[6:8] == [r"{[}1, 2] & -{}-set a=b \\", r"{*} star & '{}'x,{}, $\leq$ 2 $\rightarrow$ 1 \\"]
    assert escaped("---") == "-{}-{}-"
    assert escaped("2026-11-27") == "2026-11-27"


def test_latex_has_a_line_a_row_and_unknown_numbers_are_empty() -> None:
    frame = pd.DataFrame({"the_method": ["agent", "a&b"], "drop": [-0.12346, float("nan")], "n": [1, 2]})
    lines = tabular(frame).splitlines()
    assert lines[2] == r"\begin{tabular}{lrr}"
    assert lines[4:9:2] == [r"the method & drop & n \\", r"agent & $-$0.1235 & 1 \\", r"\bottomrule"]
    assert lines[7] == r"a\&b &  & 2 \\"
    assert all(line.count("&") - line.count(r"\&") == 2 for line in lines[6:8])


def test_a_damaged_trial_is_left_out_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_study(tmp_path / "made", make_tables([trial_row("whole"), trial_row("broken", method="random")]))
    (folder / "trials" / "broken" / "trial.parquet").write_bytes(b"x")
    page = write_report(folder).read_text()
    said = "trials/broken/trial.parquet is damaged"
    assert "1 trial damaged" in page
    assert said in page
    assert said in capsys.readouterr().err
    assert list(read_report([folder]).tables.trials["trial_id"]) == ["whole"]
