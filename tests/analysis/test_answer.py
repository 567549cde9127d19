"""The answer at the top of the report, against values worked out by hand."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from analysis.answer import answer, answer_html
from analysis.answer_words import SHOWN, amount, change, duration, listed
from analysis.commands import command_html
from raprune.results import Tables
from tests.analysis.cases import CASES, every_case
from tests.analysis.make_tables import grid, layer_row, make_tables, speed_rows, trial_row, unfinished_row


def only(tables: Tables, kind: str = "bound") -> dict[str, Any]:
    (entry,) = [entry for entry in answer(tables) if entry["kind"] == kind]
    return entry


def words(html: str) -> str:
    """The text of a page, as a reader sees it."""
    found: list[str] = []
    parser = HTMLParser()
    parser.handle_data = found.append  # type: ignore[method-assign]
    parser.feed(html)
    return " ".join(" ".join(found).split())


@every_case()
def test_is_plain_data_and_whole_html_in_every_state(case: str) -> None:
    entries = answer(CASES[case])
    assert json.loads(json.dumps(entries, allow_nan=False)) == entries
    kinds = [entry["kind"] for entry in entries]
    assert ("none" in kinds) != ("bound" in kinds)
    html = answer_html(CASES[case])
    assert html.startswith("<div")
    assert html.endswith("</div>")
    for tag in ("div", "article", "dl", "dd", "p", "details"):
        assert html.count(f"<{tag}") == html.count(f"</{tag}>"), tag
    assert not {"nan", "nan%", "None"} & set(words(html).split())


def test_the_best_removes_most_multiply_adds_within_the_bound() -> None:
    trials = [
        trial_row("most filters", pruning_ratio=0.9, macs=5000),
        trial_row("most macs", macs=2000, params=100, test_score_drop=2.5, test_score=95.5),
        trial_row("over on guard", method="random", macs=1000, guard_score_drop=2.25, score_drop_limit=3.0),
        trial_row("over on val", method="random", macs=500, val_score_drop=2.5),
    ]
    entry = only(make_tables(trials))
    best = entry["best"]
    assert (entry["num_trials"], entry["num_within"], entry["bound"], entry["unit"]) == (4, 2, "2", "points")
    assert best["trial_id"] == "most macs"
    assert best["removed"]["multiply-adds"] == {"share": 0.75, "before": 8000, "after": 2000}
    assert best["removed"]["parameters"]["share"] == pytest.approx(0.9)
    assert best["removed"]["filters"] == {"share": pytest.approx(0.4), "before": 30, "after": 18}
    assert best["lost"] == {
        "validation": {"drop": 1, "within": True, "before": 99, "after": 98},
        "test": {"drop": 2.5, "within": False, "before": 98, "after": 95.5},
    }
    assert (best["candidates"], best["seconds"]) == (1234, 12)
    said = words(answer_html(make_tables(trials)))
    assert "75.0% fewer multiply-adds" in said
    costs = "1 point lost on validation (99.0% to 98.0%), 2.5 points lost on test (98.0% to 95.5%)."
    assert f"{costs} Within the bound on validation." in said
    assert "Over the bound on test." in said
    assert "raprune export 'results/made/trials/most macs' --format pt2 --out small.pt2" in said
    assert "For ONNX Runtime write --format onnx --out small.onnx instead, which needs pip install" in said
    assert "baseline the trained network before pruning" in said


def test_where_no_trial_is_within_the_bound_it_says_so() -> None:
    tables = make_tables([trial_row("over", val_score_drop=2.5)])
    assert only(tables)["best"] is None
    assert "None of 1 trial is within it" in words(answer_html(tables))


def test_times_are_those_that_were_measured() -> None:
    trials = [trial_row("t")]
    slow = speed_rows("t", 0.0103, 0.01) + speed_rows("t", 0.04, 0.02, batch_size=64)
    best = only(make_tables(trials, speed=slow))["best"]
    assert [(time["times_faster"], time["batch_size"]) for time in best["times"]] == [(1.03, 1), (2, 64)]
    said = words(answer_html(make_tables(trials, speed=slow)))
    assert "50.0% fewer multiply-adds, 1.03 times as fast at batch size 1" in said
    assert "2.00 times as fast at batch size 64 (eager, cpu, 1 thread)" in said
    unmeasured = words(answer_html(make_tables(trials)))
    assert "raprune bench results/made/trials/t" in unmeasured
    assert "times as fast" not in unmeasured


def test_the_commands_name_the_folder_of_the_trial() -> None:
    (entry, _) = answer(make_tables([trial_row("t")]), {"t": Path("my results/x/trials/t")})
    assert "raprune export 'my results/x/trials/t' --format" in entry["best"]["export"]


def test_the_commands_allow_code_of_ones_own() -> None:
    row = trial_row("t", model="mynet:small", dataset="python:data", score_name="my.scores:best")
    (entry, _) = answer(make_tables([row]))
    assert entry["best"]["bench"].endswith("/t --allow-import mynet:small")
    assert entry["best"]["export"].endswith(".pt2 --allow-import mynet:small --allow-import my.scores:best")


def test_the_limit_of_the_guard_is_compared_with_the_bound() -> None:
    row = trial_row("t", guard_score_drop=0.5, score_drop_limit=2.25)
    said = words(answer_html(make_tables([row])))
    assert (
        "Within the bound on validation, guard and test. By the guard, at most 2.25 points lost on fresh images" in said
    )
    assert "more than the bound" in said
    assert "more than the bound" not in words(answer_html(make_tables([row | {"score_drop_limit": 2.0}])))
    assert "at least 0.5 points gained on fresh" in words(answer_html(make_tables([row | {"score_drop_limit": -0.5}])))


def test_repetitions_are_averaged_by_baseline() -> None:
    trials = [
        trial_row("a", macs=4000, test_score_drop=1.0),
        trial_row("b", seed=1, macs=2000, test_score_drop=3.0),
        trial_row("c", seed=2, macs=1000, test_score_drop=0.0, baseline_key="b1"),
        trial_row("other", method="magnitude", macs=8000),
    ]
    repeated = only(make_tables(trials))["best"]["repeated"]
    assert (repeated["num_trials"], repeated["num_baselines"]) == (3, 2)
    assert repeated["macs_removed"]["mean"] == pytest.approx((0.625 + 0.875) / 2)
    assert repeated["test_score_drop"]["mean"] == 1
    assert (repeated["macs_removed"]["lowest"], repeated["macs_removed"]["highest"]) == (0.625, 0.875)
    assert "3 trials of these settings, 2 baselines" in words(answer_html(make_tables(trials)))
    one = only(make_tables(trials[:2]))["best"]["repeated"]
    assert one["macs_removed"] == {"mean": 0.625, "lowest": None, "highest": None}
    assert only(make_tables(trials[:1]))["best"]["repeated"] is None


def test_every_bound_and_context_has_its_answer_and_many_are_folded() -> None:
    rows = [trial_row(f"{bound}", drop_bound=float(bound)) for bound in (4, 1, 10)]
    rows.append(trial_row("r", model="resnet18", drop_bound=1.0))
    entries = [entry for entry in answer(make_tables(rows)) if entry["kind"] == "bound"]
    assert [(e["of"], e["bound"]) for e in entries] == [
        ("vgg16 on digits", "1"),
        ("vgg16 on digits", "4"),
        ("vgg16 on digits", "10"),
        ("resnet18 on digits", "1"),
    ]
    many = answer_html(make_tables([trial_row(f"{n}", drop_bound=float(n)) for n in range(1, SHOWN + 4)]))
    assert "<summary>3 more</summary>" in many
    assert many.count("<article") == SHOWN + 3


def test_verdict_at_the_same_ratios() -> None:
    trials = [trial_row("p0"), trial_row("p1", baseline_key="b1")]
    for row in list(trials):
        own = {"method": "magnitude", "drop_bound": None, "matched_trial_id": row["trial_id"]}
        trials.append(row | own | {"trial_id": f"m{row['trial_id']}"})
    cut = {"p0": 98.0, "mp0": 96.0, "p1": 98.0, "mp1": 94.0}
    layers = [layer_row(of, index, cut_val_score=score) for of, score in cut.items() for index in range(3)]
    (verdict,) = [e for e in answer(make_tables(trials, layers)) if e["kind"] == "verdict"]
    assert (verdict["about"], verdict["of"], verdict["against"], verdict["num_baselines"]) == (
        "matched", "agent", "magnitude", 2,
    )  # fmt: skip
    assert (verdict["gap"], verdict["lowest"], verdict["highest"], verdict["shown"]) == (3, 2, 4, True)
    said = words(answer_html(make_tables(trials, layers)))
    before = "before fine-tuning, agent loses 3 points less than magnitude ([2.0, 4.0], 2 baselines)"
    assert f"every layer: {before}; at the end, as much ([0.0, 0.0], 2 baselines; no difference is shown)." in said
    trials[2]["val_score"] = 98.5
    one = words(answer_html(make_tables(trials[::2], layers)))
    caveat = "A single baseline has no interval"
    before = "before fine-tuning, agent loses 2 points less than magnitude; at the end, 0.5 points more."
    assert 0 < one.index(caveat) < one.index(before)


def test_verdict_within_the_same_bound() -> None:
    trials = [
        trial_row("a", macs=2000),
        trial_row("m", method="magnitude", macs=4000),
        trial_row("a1", macs=2000, baseline_key="b1"),
        trial_row("m1", method="magnitude", macs=1600, baseline_key="b1"),
    ]
    (verdict,) = [e for e in answer(make_tables(trials)) if e["kind"] == "verdict"]
    assert (verdict["gap"], verdict["lowest"], verdict["highest"], verdict["shown"]) == (10, -5, 25, False)
    said = words(answer_html(make_tables(trials)))
    assert "agent removes 10 points of the multiply-adds more than magnitude" in said
    assert "([-5.0, 25.0], 2 baselines; no difference is shown)" in said
    one = words(answer_html(make_tables(trials[:2])))
    assert "A single baseline has no interval and shows nothing yet" in one


def test_what_did_not_complete_is_counted() -> None:
    rows = [unfinished_row("a", "failed", "no"), unfinished_row("b", "stopped", None)]
    assert answer(make_tables(rows, trial_ids=["a", "b", "c"])) == [
        {"kind": "none", "text": "No trial has completed: 1 failed, 1 stopped, 1 not ended yet."}
    ]


def test_markup_in_names_stays_text() -> None:
    odd = "<img src=x onerror=alert(1)>\"'"
    rows = grid(methods=("agent", odd), seeds=(0,), model=odd, dataset="名前", score_name=odd)
    rows = [row | {"trial_id": f"'{row['trial_id']}<b>", "matched_trial_id": None} for row in rows]
    html = answer_html(make_tables(rows), {row["trial_id"]: Path("<script>") for row in rows})
    assert "<img" not in html
    assert "<script>" not in html
    assert "<b>" not in html.replace("<b class", "")
    assert "名前" in html


def test_options_of_a_command_are_not_broken_at_their_hyphens() -> None:
    said = command_html("raprune export 'a --<b>/c-d' --format onnx -v")
    option = "<span class='option'>{}</span>"
    path = "&#x27;a --&lt;b&gt;/c-d&#x27;"
    assert said == f"<code>raprune export {path} {option.format('--format')} onnx {option.format('-v')}</code>"
    assert option.format("--format") in answer_html(make_tables([trial_row("t")]))


def test_words_of_numbers() -> None:
    assert [change(value, "points") for value in (0.667, -0.25, 0.001, 1.0)] == [
        "0.67 points lost", "0.25 points gained", "nothing lost", "1 point lost",
    ]  # fmt: skip
    assert amount(20.0, "dB") == "20 dB"
    assert [duration(value) for value in (42.4, 90.0, 7200.0, None)] == ["42 s", "1.5 min", "2.0 h", ""]
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
