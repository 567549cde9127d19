"""The report's page in a real browser: nothing complains, nothing is requested, all of it works at every width."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from analysis.plots import write_report
from tests.analysis.browser import CHROMIUM, Browser, browser
from tests.analysis.cases import CASES
from tests.analysis.make_tables import make_tables, trial_row, write_study

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed here")
HOSTILE = "<img src=x onerror=alert(1)></script><script>alert(2)</script> 日本 пример"
SETTLED = """new Promise((done) => {
    let [before, same] = ["", 0];
    const look = () => {
        const parts = [...document.querySelectorAll("section, .chart")];
        const now = parts.map((one) => one.getBoundingClientRect().top).join();
        same = now === before ? same + 1 : 0;
        before = now;
        same < 3 ? requestAnimationFrame(look) : done();
    };
    look();
})"""
"""What was asked for is drawn, and what has been drawn further up moves nothing any more."""
ACROSS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a study that has data for every figure."""
    return write_report(write_study(tmp_path_factory.mktemp("results") / "made", CASES["everything"]))


@pytest.fixture
def shown(chromium: Browser, page: Path) -> Iterator[Browser]:
    """The page at 1200 pixels; afterwards nothing was complained about and nothing requested but the page."""
    chromium.complaints.clear()
    chromium.requests.clear()
    chromium.open(page)
    yield chromium
    assert chromium.complaints == []
    assert {url.partition("#")[0] for url in chromium.requests} == {page.resolve().as_uri()}


def place_of(shown: Browser, figure: str, number: int) -> tuple[float, float]:
    """Where the window has a mark of a figure's first plot."""
    shown.run(f"document.getElementById('{figure}').scrollIntoView({{ behavior: 'instant' }})")
    shown.until(f"document.querySelector('#{figure} .chart')?.raprune?.marks?.length > {number}")
    shown.run(SETTLED)
    x, y = shown.run(
        f"(() => {{ const box = document.querySelector('#{figure} .chart'); const mark = box.raprune.marks[{number}];"
        "const over = box.querySelector('.u-over').getBoundingClientRect();"
        "return [over.left + mark.x, over.top + mark.y]; })()"
    )
    return x, y


def test_a_point_is_named_when_pointed_at_and_opens_its_trial(shown: Browser) -> None:
    x, y = place_of(shown, "trade_off", 1)
    shown.mouse("move", x, y)
    shown.until("document.getElementById('tip').classList.contains('shown')")
    said = shown.run("document.getElementById('tip').textContent")
    assert "low_to_high" in said or "by_sensitivity" in said
    assert "filters pruned (%)" in said
    shown.mouse("click", x, y)
    shown.until("document.getElementById('drawer').open && location.hash.startsWith('#trial=')")
    opened = shown.run("document.getElementById('drawer').textContent")
    assert "raprune export" in opened
    assert "features.3" in opened
    assert shown.run("document.querySelectorAll('#drawer svg.mask').length") == 3
    shown.key("Escape")
    shown.until("!document.getElementById('drawer').open && location.hash === ''")


def test_a_link_opens_a_trial_and_the_keyboard_goes_on(chromium: Browser, page: Path) -> None:
    chromium.open(page, fragment="#trial=factorised")
    chromium.until("document.getElementById('drawer').open")
    first = chromium.run("document.getElementById('drawer-name').textContent")
    chromium.key("ArrowRight")
    chromium.until(f"document.getElementById('drawer-name').textContent !== {first!r}")
    chromium.open(page, fragment="#trial=not-there")
    chromium.run(SETTLED)
    assert not chromium.run("document.getElementById('drawer').open")


def test_a_click_in_the_legend_hides_what_has_that_name(shown: Browser) -> None:
    place_of(shown, "trade_off", 0)
    number = "document.querySelector('#trade_off .chart').raprune.marks.length"
    before = shown.run(number)
    button = "document.querySelector('#trade_off .legend button:last-of-type')"
    shown.run(f"{button}.click()")
    shown.until(f"{number} < {before}")
    assert shown.run(f"{number}") > 0
    shown.run(f"{button}.click()")
    shown.until(f"{number} === {before}")


def test_the_table_is_sorted_and_filtered(shown: Browser) -> None:
    rows = "[...document.querySelectorAll('table.trials tbody tr:not([hidden])')]"
    column = f"{rows}.map(row => row.cells[1].textContent)"
    assert len(set(shown.run(column))) > 1
    shown.run(
        "(() => { const choice = document.querySelector('.filters select[name=method]'); choice.value = 'magnitude';"
        "choice.dispatchEvent(new Event('change')); })()"
    )
    assert set(shown.run(column)) == {"magnitude"}
    assert "trials" in shown.run("document.querySelector('.filters output').textContent")
    heads = shown.run("[...document.querySelectorAll('table.trials th')].map(head => head.textContent)")
    place = heads.index("filters pruned")
    ratios = f"{rows}.map(row => parseFloat(row.cells[{place}].textContent))"
    shown.run(f"document.querySelectorAll('table.trials th button')[{place}].click()")
    found = [ratio for ratio in shown.run(ratios) if ratio is not None]
    assert found == sorted(found, reverse=True)
    assert found[0] > found[-1]


@pytest.mark.parametrize("width", [400, 1600])
def test_the_bar_of_links_says_where_it_goes_on(shown: Browser, width: int) -> None:
    arrows = "[...document.querySelectorAll('#contents .arrow')].map((arrow) => !arrow.hidden)"
    shown.size(width)
    shown.until(f"JSON.stringify({arrows}) === '[false,true]'")
    shown.run("document.querySelectorAll('#contents .arrow')[1].click()")
    shown.until(f"{arrows}[0]")
    shown.run("document.querySelector('#trials').scrollIntoView({ behavior: 'instant' })")
    current = "document.querySelector('#contents [aria-current]')"
    shown.until(f"{current}?.hash === '#trials'")
    shown.until(f"JSON.stringify({arrows}) === '[true,false]'")
    right = "getBoundingClientRect().right"
    assert shown.run(f"{current}.{right} - document.querySelector('#contents div').{right}") <= 1


def test_rows_of_a_heat_map_keep_their_names_on_a_small_screen(shown: Browser) -> None:
    names = "[...document.querySelectorAll('#redundancy text.cluster')].map((name) => name.textContent)"
    found = {}
    for width in (1200, 400):
        shown.size(width)
        shown.run("raprune.onPrint.forEach((draw) => draw())")
        shown.run(SETTLED)
        found[width] = shown.run(names)
    assert found[400] == found[1200]
    assert not [name for name in found[400] if name.startswith("…")]


def test_the_bars_of_a_chart_have_as_many_decimals(shown: Browser) -> None:
    shown.run("raprune.onPrint.forEach((draw) => draw())")
    shown.run(SETTLED)
    charts = shown.run(
        "[...document.querySelectorAll('figure.bars')].map((chart) =>"
        "[...chart.querySelectorAll('text.value')].map((value) => value.textContent.split(/[ %]/)[0]))"
    )
    assert charts
    for values in charts:
        parts = {
            len(value.partition(".")[2])
            for value in values
            if value != "unknown" and float(value.replace("−", "-").replace(",", ""))
        }
        assert len(parts) <= 1, values


@pytest.mark.parametrize("width", [400, 800, 1600])
def test_nothing_is_wider_than_the_window(shown: Browser, width: int) -> None:
    shown.size(width)
    shown.run("raprune.onPrint.forEach((draw) => draw())")  # also what has not come near the window
    shown.run(SETTLED)
    assert shown.run(ACROSS) <= 0
    assert shown.run("[...document.querySelectorAll('.chart')].map((chart) => chart.childElementCount)").count(0) == 0


def test_dark_follows_the_system_and_the_button(chromium: Browser, page: Path) -> None:
    back = "getComputedStyle(document.body).backgroundColor"
    chromium.open(page, dark=True)
    dark = chromium.run(back)
    chromium.run("document.getElementById('theme').click()")
    light = chromium.run(back)
    assert (dark, light) == ("rgb(17, 20, 24)", "rgb(255, 255, 255)")
    chromium.run("localStorage.clear()")


def test_paper_cuts_nothing_off(shown: Browser) -> None:
    assert shown.pdf().startswith(b"%PDF")
    shown.call("Emulation.setEmulatedMedia", media="print")
    shown.until("matchMedia('print').matches")
    for width in (703, 1031):  # what the margins leave of A4, upright and across
        shown.size(width)
        kinds = "table.trials, table.trials *" if width == 1031 else "section:not(#trials) *"
        ends = f"[...document.querySelectorAll('{kinds}')].map(one => one.getBoundingClientRect().right)"
        assert shown.run(f"Math.max(...{ends})") <= width + 1
    shown.call("Emulation.setEmulatedMedia", media="")


def test_names_from_a_study_stay_text(chromium: Browser, tmp_path: Path) -> None:
    rows = [trial_row("one", method=HOSTILE, order=HOSTILE), trial_row("two", model=HOSTILE, pruning_ratio=0.5)]
    study = write_study(tmp_path / "made", make_tables(rows, study=HOSTILE, description=HOSTILE))
    chromium.complaints.clear()
    chromium.open(write_report(study), fragment="#trial=one")
    chromium.until("document.getElementById('drawer').open")
    chromium.run("raprune.onPrint.forEach((draw) => draw())")
    assert "日本 пример" in chromium.run("document.getElementById('drawer').textContent")
    assert chromium.run("document.querySelectorAll('img[src=x]').length") == 0
    assert chromium.complaints == []


def test_without_scripts_the_trials_are_there(chromium: Browser, page: Path) -> None:
    chromium.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        chromium.load(page.resolve().as_uri())
        tree = chromium.call("DOMSnapshot.captureSnapshot", computedStyles=[])["strings"]
    finally:
        chromium.call("Emulation.setScriptExecutionDisabled", value=False)
    assert "The figures of this page are drawn by its script, which did not run." in tree
    assert "1.0-low_to_high-agent-0" in tree
