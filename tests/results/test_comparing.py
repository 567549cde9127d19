"""Two sides compared: what is paired, the interval by hand, and what is not comparable."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from raprune.console.comparison import as_json, comparison_table, remark_lines, verdict_lines
from raprune.errors import InputError, ResultsError
from raprune.results.comparing import Comparison, compare
from raprune.results.sides import side_of
from tests.analysis.make_tables import make_tables, trial_row, write_study

DEFAULTS = {"decision": "prefix", "decision_settings": "{}", "acceptance": "within bound", "guard_score_drop": 1.0}


def row(name: str, baseline: int, method: str, macs: float, **changes: Any) -> dict[str, Any]:
    """A trial on one of the baselines that removes a share of the multiply-adds, percent."""
    settings = json.dumps({"seed": baseline, "epochs": 2})
    own = {"seed": baseline, "baseline_key": f"b{baseline}", "baseline_settings": settings, "method": method}
    own |= {"macs": 8000 - round(80 * macs), "dataset_settings": json.dumps({"split_seed": baseline})}
    return trial_row(name, **{**DEFAULTS, **own, **changes})


def study(folder: Path, *rows: dict[str, Any], axes: dict[str, dict[str, str]] | None = None) -> Path:
    out = write_study(folder, make_tables(rows, []))
    manifest = json.loads((out / "manifest.json").read_text())
    (out / "manifest.json").write_text(json.dumps(manifest | {"axes": axes or {}}))
    return out


def five(method: str, shares: tuple[float, ...], **changes: Any) -> list[dict[str, Any]]:
    name = f"{method}-{changes.get('drop_bound', '')}"
    return [row(f"{name}-{number}", number, method, share, **changes) for number, share in enumerate(shares)]


def sides(out: Path, a: str = "method=taylor", b: str = "method=magnitude", **options: Any) -> Comparison:
    return compare(side_of(out, [a]), side_of(out, [b]), **options)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    better = {"decision": "search", "num_candidates": 1200, "test_score_drop": 2.5, "num_order_candidates": 0}
    taylor = five("taylor", (54.0, 56.0, 52.0, 55.0, 53.0), **better)
    return study(tmp_path / "made", *taylor, *five("magnitude", (50.0,) * 5, num_candidates=100))


def test_a_verdict_in_one_sentence(out: Path) -> None:
    found = sides(out)
    (group,) = found.groups
    assert group.difference == pytest.approx(4.0)
    assert (group.num_pairs, group.num_baselines, group.shared) == (5, 5, {"drop_bound": "2"})
    assert 2.5 < group.lowest < 4 < group.highest < 5.5
    assert group.drops["test"][0] == pytest.approx(1.0)
    assert group.drops["guard"] == (0.0, 0.0, 0.0)
    (said,) = verdict_lines(found)
    assert said == (
        "At drop bound 2, taylor + search prunes 4.0 points more of the multiply-adds than magnitude + prefix "
        f"(95% interval {group.lowest:.1f} to {group.highest:.1f} over 5 baselines), at 12 times the candidates."
    )
    (remark,) = remark_lines(found)
    assert remark == (
        "these differ, so the difference is that of all of these together: method taylor against magnitude; "
        "decision search against prefix"
    )
    heads = [str(column.header) for column in comparison_table(found).columns]
    assert heads[:3] == ["drop_bound", "taylor + search: removed", "magnitude + prefix: removed"]


def test_the_other_way_round_is_less(out: Path) -> None:
    (said,) = verdict_lines(sides(out, "method=magnitude", "method=taylor"))
    assert "magnitude + prefix prunes 4.0 points less of the multiply-adds than taylor + search (95% interval -" in said
    assert said.endswith("at 0.083 times the candidates.")


def test_a_difference_that_may_be_chance_is_called_so(tmp_path: Path) -> None:
    out = study(tmp_path / "s", *five("taylor", (50.0, 60.0, 41.0)), *five("magnitude", (50.0,) * 3))
    found = sides(out)
    (said,) = verdict_lines(found)
    assert ": it may be chance), at as many candidates." in said
    assert list(remark_lines(found))[-1].startswith("an interval over 3 baselines is too narrow")


def test_one_baseline_has_no_interval_and_says_why(tmp_path: Path) -> None:
    out = study(tmp_path / "s", *five("taylor", (50.0,)), *five("magnitude", (50.0,)))
    found = sides(out)
    assert math.isnan(found.groups[0].lowest)
    (said,) = verdict_lines(found)
    assert "prunes as much of the multiply-adds as magnitude" in said
    assert "(on one baseline, so without an interval)" in said
    assert any(
        line.startswith("no interval can be given: all pairs are of one baseline") for line in remark_lines(found)
    )
    assert as_json(found)["groups"][0]["lowest"] is None


def test_trials_are_paired_by_what_both_share(tmp_path: Path) -> None:
    """Bounds apart; a bound of one side only has no partner; seeds on one baseline are averaged first."""
    again = row("again", 0, "taylor", 70.0, seed=9, drop_bound=1.0)
    rows = [*five("taylor", (50.0, 52.0), drop_bound=1.0), again, *five("magnitude", (40.0, 40.0), drop_bound=1.0)]
    rows += [*five("taylor", (80.0, 80.0), drop_bound=4.0), *five("magnitude", (70.0, 70.0), drop_bound=4.0)]
    rows += five("magnitude", (30.0,), drop_bound=0.5)
    out = study(tmp_path / "s", *rows)
    found = sides(out)
    assert [(g.shared["drop_bound"], round(g.difference, 6)) for g in found.groups] == [("1", 16.0), ("4", 10.0)]
    assert found.num_unpaired == 1
    (together,) = sides(out, by=["order"]).groups
    assert (together.difference, together.num_pairs) == (pytest.approx(13.0), 4)
    with pytest.raises(InputError, match="the sides share no 'oder' to give verdicts by; did you mean 'order'"):
        sides(out, by=["oder"])


def test_on_filters_and_parameters(out: Path) -> None:
    assert sides(out, on="filters").groups[0].removed == pytest.approx((40.0, 40.0))
    assert "of the parameters" in next(verdict_lines(sides(out, on="params")))
    with pytest.raises(InputError, match="macs, params, filters, not on 'filter'"):
        sides(out, on="filter")


def test_a_matched_trial_has_its_partners_bound(tmp_path: Path) -> None:
    own = {"acceptance": "as matched", "drop_bound": None, "matched_trial_id": "taylor--0", "num_candidates": 0}
    axes = {"taylor--0": {"method": "taylor"}, "m": {"method": "magnitude (matched)"}}
    out = study(tmp_path / "s", *five("taylor", (50.0,)), row("m", 0, "magnitude", 50.0, **own), axes=axes)
    found = sides(out, b="method=magnitude (matched)")
    assert found.names == ("taylor + prefix", "magnitude (matched)")
    assert found.groups[0].shared == {"drop_bound": "2"}
    assert next(verdict_lines(found)).endswith("with 1.23k candidates against 0.")
    assert "acceptance within bound against as matched" in next(remark_lines(found))


def test_what_is_not_comparable_is_named(tmp_path: Path) -> None:
    one = study(tmp_path / "one", *five("taylor", (50.0,)))
    other = study(tmp_path / "other", *five("taylor", (60.0,), dataset="cifar10", drop_bound=4.0))
    found = compare(side_of(one), side_of(other))
    (said,) = verdict_lines(found)
    assert "are not comparable: dataset digits against cifar10; drop bound 2 against 4" in said
    assert (found.groups, list(remark_lines(found))) == ([], [])
    elsewhere = study(tmp_path / "third", *[{**r, "baseline_key": "z"} for r in five("taylor", (60.0,))])
    assert "they share no baseline" in next(verdict_lines(compare(side_of(one), side_of(elsewhere))))


def test_two_studies_and_two_trials(tmp_path: Path) -> None:
    one = study(tmp_path / "one", *five("taylor", (50.0, 51.0)))
    other = study(tmp_path / "other", *five("taylor", (60.0, 61.0), credit=3.0, method_settings='{"of": "gates"}'))
    found = compare(side_of(one), side_of(other))
    assert [(d.what, d.a, d.b) for d in found.differs] == [("method", "of null", 'of "gates"'), ("credit", "none", "3")]
    assert found.groups[0].difference == pytest.approx(-10.0)
    trials = [folder / "trials" / "taylor--0" for folder in (one, other)]
    (group,) = compare(*map(side_of, trials)).groups
    assert (group.num_pairs, round(group.difference, 6)) == (1, -10.0)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ("methd=taylor", "trials have no 'methd'; did you mean 'method'"),
        ("method=tailor", "has no trial with method=tailor; did you mean 'taylor'"),
        ("method", "'method' must be KEY=VALUE"),
    ],
)
def test_a_side_that_is_not_there(out: Path, chosen: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        side_of(out, [chosen])


def test_sides_that_overlap_or_mix_are_refused(out: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="5 of the trials are on both sides"):
        compare(side_of(out), side_of(out, ["method=taylor"]))
    mixed = study(tmp_path / "m", *five("agent", (5.0,)), *five("taylor", (5.0,)))
    with pytest.raises(InputError, match=r"side a has 2 values of method \(agent, taylor\).*--a KEY=VALUE"):
        compare(side_of(mixed), side_of(out, ["method=magnitude"]))
    with pytest.raises(ResultsError, match="is neither a study's folder"):
        side_of(tmp_path)
    (out / "trials" / "gone").mkdir()
    with pytest.raises(ResultsError, match="has no trial gone now"):
        side_of(out / "trials" / "gone")
