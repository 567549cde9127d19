"""A page you can draw into: the baseline and pruned networks run in the reader's browser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from ..harmless import shown
from ..page import Section
from ..page_copies import Copies, find_copies, removed
from ..studies import Report

PLACE = -0.5
TITLE = "Try it yourself"
SPLITS = {"test": "test", "val": "validation"}
WEB = ("network.js", "pen.js", "draw_view.js", "draw.js", "draw.css")


def section(report: Report) -> Section | None:
    """Pad, slider and filters; without copies of networks nothing, or a sentence where their files are damaged."""
    copies, damaged = find_copies(report)
    if copies is None:
        lines = [f"<p class='soft'>Networks to try cannot be shown: {escape(shown(line))}</p>" for line in damaged[:1]]
        return Section("draw", TITLE, lines[0]) if lines else None
    data = section_data(copies)
    return Section("draw", TITLE, _body(copies, data, damaged), data, "draw", WEB)


def section_data(copies: Copies) -> dict[str, Any]:
    """What draw.js reads: the baseline first, then the pruned networks, the tightest bound first."""
    first = copies.baseline
    networks = [
        {
            "name": "no filter pruned",
            "facts": "The baseline, with all its filters.",
            "trial": "",
            "steps": first["steps"],
        }
    ]
    networks += [_network(row, copy) for row, copy in copies.pruned]
    wrong: dict[int, Any] = {}
    for copy in (first, *(copy for _, copy in copies.pruned)):
        wrong |= {example["index"]: example for example in copy["wrong"]}
    names = [shown(name, 40) for name in first["class_names"]]
    shared = {key: first[key] for key in ("input_shape", "mean", "std", "examples")}
    return shared | {
        "drawn": first["drawn"] if first["input_shape"][0] == 1 else None,
        "class_names": names,
        "noun": "digit" if names == list("0123456789") else "image",
        "split": SPLITS[first["split"]],
        "networks": networks,
        "wrong": [wrong[index] for index in sorted(wrong)],
    }


def _network(row: Mapping[Any, Any], copy: Mapping[str, Any]) -> dict[str, Any]:
    facts = (
        f"{row['method']}: {row['pruning_ratio']:.0%} of the filters, {removed(row, 'params'):.0%} of the parameters "
        f"and {removed(row, 'macs'):.0%} of the multiply-adds removed;"
    )
    unit = "dB" if row["score_unit"] == "dB" else "point" if row["bound"] == "1" else "points"
    return {"name": f"{row['bound']} {unit}", "facts": facts, "trial": row["trial_id"], "steps": copy["steps"]}


def _body(copies: Copies, data: Mapping[str, Any], damaged: Sequence[str]) -> str:
    noun, last = data["noun"], len(data["networks"]) - 1
    one = f"{'an' if noun == 'image' else 'a'} {noun}"
    pad = (
        f"""<svg class="draw-pad" data-part="pad" viewBox="0 0 100 100" role="img"
aria-label="Draw {one} here, with mouse, finger or pen"></svg>
<div class="draw-tools"><button type="button" data-part="clear">Clear</button>
<canvas data-part="seen" aria-hidden="true"></canvas><span>is what the networks see</span></div>"""
        if data["drawn"]
        else '<div class="draw-tools"><canvas data-part="seen" aria-hidden="true"></canvas></div>'
    )
    ways = f"Draw {one}, or choose a real one" if data["drawn"] else f"Choose {one}"
    hard = '<p>Some that a network here gets wrong:</p><div data-part="wrong"></div>'
    remarks = [*copies.remarks, *(shown(line) for line in damaged)]
    return f"""<p class="caption">{ways}; then move the slider and watch filters vanish. A cell is a filter: the
stronger it responds to the {noun}, the fuller its colour; a dot is what is left of one that was pruned. The drop bound
is what the network was allowed to lose; for each, the page holds the trial with the fewest multiply-adds.</p>
<div class="draw">
<div class="draw-input">{pad}</div>
<div class="draw-examples"><p>Real {data["split"]} {noun}s:</p><div data-part="examples"></div>
{hard if data["wrong"] else '<div hidden data-part="wrong"></div>'}</div>
<div class="draw-answer">
<label class="draw-slide">Drop bound: <output data-part="bound"></output>
<input type="range" data-part="bounds" min="0" max="{last}" step="1" value="{last}"></label>
<p class="soft" data-part="facts"></p>
<p class="draw-verdict" data-part="verdict" role="status" aria-live="polite"></p>
<table class="draw-scores"><thead><tr><th scope="col">class</th><th scope="col">baseline</th><th scope="col">pruned</th>
</tr></thead><tbody data-part="scores"></tbody></table></div>
<div class="draw-filters" data-part="filters"></div>
</div>
<p class="soft">{escape(" ".join([_accuracy(copies, data), *remarks]))}</p>"""


def _accuracy(copies: Copies, data: Mapping[str, Any]) -> str:
    """How right the networks are as they stand in the page."""
    first = copies.baseline
    named = zip(data["networks"][1:], copies.pruned, strict=True)
    counts = [
        f"the baseline {_count(first)}",
        *(f"the one pruned within {n['name']} {_count(c)}" for n, (_, c) in named),
    ]
    return (
        f"The weights here are rounded to a coarse grid, to keep the page small. So rounded, of {first['num_images']} "
        f"{data['split']} {data['noun']}s the networks get right: {', '.join(counts)}."
    )


def _count(copy: Mapping[str, Any]) -> str:
    return f"{copy['num_right']} (unrounded {copy['num_right_unrounded']})"
