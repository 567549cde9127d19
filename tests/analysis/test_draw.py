"""Which networks the page runs, and what it says where it cannot run any."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from analysis import page_copies
from analysis.page import Section
from analysis.page.embed import web_text
from analysis.plots import write_report
from analysis.sections import draw
from analysis.studies import read_report
from raprune.results import write_page_copy
from raprune.results.page_copy import PAGE_COPY_FILE
from tests.analysis.browser import CHROMIUM, Browser, browser
from tests.analysis.make_tables import Row, make_tables, trial_row, write_study
from tests.results.test_page_copy import EXAMPLE, SOUND

Copy = dict[str, Any]


def study(folder: Path, *rows: Row, baseline: str = "weights", **changes: Any) -> Path:
    """A study whose trials and baseline have copies; ``changes`` are those of the trials' copies."""
    write_study(folder, make_tables(list(rows)))
    whole = copy.deepcopy(SOUND)
    whole["steps"][0] |= {"shape": [4, 1, 3, 3], "weights": "A" * 36, "scales": [1] * 4, "bias": [0] * 4}
    whole["steps"][0]["kept"] = [0, 1, 2, 3]
    whole["steps"][4] |= {"shape": [3, 16], "weights": "b" * 48}
    for row in rows:
        (folder / "baselines" / row["baseline_key"]).mkdir(parents=True, exist_ok=True)
        write_page_copy(folder / "baselines" / row["baseline_key"], whole, "weights")
        (folder / "trials" / row["trial_id"] / "model").mkdir(parents=True, exist_ok=True)
        write_page_copy(folder / "trials" / row["trial_id"] / "model", SOUND | changes, baseline)
    return folder


def section(folder: Path) -> Section | None:
    return draw.section(read_report([folder]))


def trials_of(found: Section | None) -> list[str]:
    assert found is not None
    return [network["trial"] for network in found.data["networks"]]


def test_each_bound_has_the_trial_with_the_fewest_macs(tmp_path: Path) -> None:
    rows = [
        trial_row("more", macs=5000),
        trial_row("fewest", macs=3000),
        trial_row("over", macs=1000, val_score_drop=2.5),
        trial_row("partner", macs=500, drop_bound=None, matched_trial_id="more"),
        trial_row("tight", macs=6000, drop_bound=1.0, val_score_drop=0.5, pruning_ratio=0.25, params=800),
    ]
    found = section(study(tmp_path, *rows, wrong=[EXAMPLE | {"index": 3}, EXAMPLE]))
    assert trials_of(found) == ["", "tight", "fewest"]
    assert found is not None
    whole, tight, loose = found.data["networks"]
    assert (whole["name"], tight["name"], loose["name"]) == ("no filter pruned", "1 point", "2 points")
    assert tight["facts"] == "agent: 25% of the filters, 20% of the parameters and 25% of the multiply-adds removed;"
    assert [example["index"] for example in found.data["wrong"]] == [3, 7]
    assert "baseline 40 (unrounded 41), the one pruned within 1 point 40 (unrounded 41)" in found.body
    assert "of 50 test images" in found.body
    assert 'max="2"' in found.body


def test_without_copies_there_is_no_section(tmp_path: Path) -> None:
    folder = study(tmp_path / "a", trial_row("t"))
    (folder / "trials" / "t" / "model" / PAGE_COPY_FILE).unlink()
    assert section(folder) is None
    assert section(study(tmp_path / "b", trial_row("t"), baseline="of others")) is None
    assert section(study(tmp_path / "c", trial_row("t"), mean=[0.4])) is None
    folder = study(tmp_path / "d", trial_row("t"))
    (folder / "baselines" / "b0" / PAGE_COPY_FILE).unlink()
    assert section(folder) is None


def test_a_damaged_copy_is_told_and_the_next_best_shown(tmp_path: Path) -> None:
    folder = study(tmp_path, trial_row("best", macs=1000), trial_row("next", macs=2000))
    file = folder / "trials" / "best" / "model" / PAGE_COPY_FILE
    file.write_text("<script>")
    found = section(folder)
    assert trials_of(found) == ["", "next"]
    assert found is not None
    assert f"{file} is damaged" in found.body
    assert "<script>" not in found.body
    (folder / "baselines" / "b0" / PAGE_COPY_FILE).write_text("{}")
    found = section(folder)
    assert found is not None
    assert found.data is None
    assert f"{PAGE_COPY_FILE} is damaged" in found.body


def test_of_many_bounds_three_are_shown(tmp_path: Path) -> None:
    rows = [trial_row(f"t{bound}", drop_bound=bound, val_score_drop=0.1) for bound in (1.0, 8.0, 2.0, 4.0, 0.5)]
    found = section(study(tmp_path, *rows))
    assert trials_of(found) == ["", "t0.5", "t2.0", "t8.0"]
    assert found is not None
    assert "Left out, so that the page stays small: the bounds 1, 4." in found.body


def test_what_does_not_fit_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [trial_row(f"t{bound}", drop_bound=bound, val_score_drop=0.1) for bound in (1.0, 4.0)]
    folder = study(tmp_path, *rows)
    sizes = [page_copies.packed_bytes(page_copies.read_page_copy(place) or {}) for place in
             (folder / "baselines" / "b0", folder / "trials" / "t1.0" / "model")]  # fmt: skip
    monkeypatch.setattr(page_copies, "PAGE_BYTES", sum(sizes))
    assert trials_of(section(folder)) == ["", "t4.0"]
    monkeypatch.setattr(page_copies, "PAGE_BYTES", sum(sizes) - 1)
    assert section(folder) is None


def test_only_networks_of_one_baseline_are_shown(tmp_path: Path) -> None:
    rows = [trial_row("alone", baseline_key="b1"), trial_row("one"), trial_row("two", drop_bound=4.0)]
    assert trials_of(section(study(tmp_path, *rows))) == ["", "one", "two"]


def test_names_of_classes_stay_text(tmp_path: Path) -> None:
    names = ["<b>a", "b\u202ec", "c" * 90]
    folder = study(tmp_path, trial_row("t"), class_names=names)
    write_page_copy(folder / "baselines" / "b0", SOUND | {"class_names": names}, "weights")
    found = section(folder)
    assert found is not None
    assert "<b>a" not in found.body
    assert found.data["class_names"][1:] == ["b\\u202ec", "c" * 40 + "…"]
    assert found.data["noun"] == "image"


def test_colours_cannot_be_drawn_but_chosen(tmp_path: Path) -> None:
    colours = {"drawn": None}
    folder = study(tmp_path, trial_row("t"), **colours)
    write_page_copy(folder / "baselines" / "b0", SOUND | colours, "weights")
    found = section(folder)
    assert found is not None
    assert found.data["drawn"] is None
    assert 'data-part="pad"' not in found.body
    assert 'data-part="seen"' in found.body


def test_the_scripts_find_every_part_and_nothing_else(tmp_path: Path) -> None:
    found = section(study(tmp_path, trial_row("t"), wrong=[EXAMPLE]))
    assert found is not None
    code = web_text(name for name in found.web if name.endswith(".js"))
    assert "raprune.sections.draw" in code
    for part in [
        "pad",
        "clear",
        "seen",
        "examples",
        "wrong",
        "bounds",
        "bound",
        "facts",
        "verdict",
        "scores",
        "filters",
    ]:
        assert found.body.count(f'data-part="{part}"') == 1
        assert f"parts.{part}" in code or f'"{part}"' in code


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("needs Chromium: no program called chromium or google-chrome is in PATH")
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def said(window: Browser, part: str) -> str:
    """The text of a part of the section, once the next picture has been drawn."""
    window.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))")
    text: str = window.run(f"document.querySelector('#draw [data-part={part}]').textContent")
    return text


def count(window: Browser, what: str) -> int:
    number: int = window.run(f"document.querySelectorAll('#draw {what}').length")
    return number


def test_a_reader_draws_and_prunes(window: Browser, tmp_path: Path) -> None:
    """With a real browser: the pad, the slider by keyboard, a real image, the button that clears."""
    folder = study(tmp_path, trial_row("t"))
    window.open(write_report(folder), width=400)
    assert said(window, "bound") == "2 points"
    assert (count(window, ".draw-cells i"), count(window, ".draw-cells i.gone")) == (4, 2)
    assert "2 of 4 filters left" in said(window, "filters")
    answer = "Baseline: a (33%). Pruned: a (33%). The answer holds."
    assert said(window, "verdict") == f"{answer} Both are wrong: the label is c."
    pad = "document.querySelector('#draw [data-part=pad]')"
    window.run(f"{pad}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
    box = json.loads(window.run(f"JSON.stringify({pad}.getBoundingClientRect())"))
    for number, (kind, share) in enumerate([("Pressed", 0.2), ("Moved", 0.5), ("Moved", 0.8), ("Released", 0.8)]):
        x, y = box["x"] + share * box["width"], box["y"] + (0.2 + 0.2 * number) * box["height"]
        window.call("Input.dispatchMouseEvent", type=f"mouse{kind}", x=x, y=y, button="left", buttons=1, clickCount=1)
    drawn = said(window, "verdict")
    assert drawn.startswith("Baseline: ")
    assert drawn.endswith(("The answer holds.", "The answer changes."))
    assert count(window, "polyline") == 1
    window.run("document.querySelector('#draw [data-part=bounds]').focus()")
    window.key("ArrowLeft")
    assert said(window, "bound") == "no filter pruned"
    assert count(window, ".draw-cells i.gone") == 0
    assert "Pruned" not in said(window, "verdict")
    window.run("document.querySelector('#draw [data-part=clear]').click()")
    assert said(window, "verdict") == "Draw an image, or choose a real one."
    assert count(window, "polyline") == 0
    window.run("document.querySelector('#draw [data-part=examples] button').click()")
    assert said(window, "verdict").startswith("Baseline: ")
    assert window.run("document.documentElement.scrollWidth") == 400
    assert window.complaints == []
    assert [address for address in window.requests if address.startswith(("http", "ws"))] == []
