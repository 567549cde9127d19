"""The answer of :mod:`analysis.answer` in words, as HTML. Everything of a study is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from raprune.results import short_count

from .commands import command_html
from .trials_table import trial_link

Entry = dict[str, Any]
SHOWN = 6
"""So many bounds stand open; the others are behind a click."""
RULE = (
    "Best: of the trials within the drop bound on validation and guard images, the one that removes most "
    "multiply-adds. Test images choose nothing; they are opened once, at the end. Limits are one-sided, intervals "
    "two-sided, both at 95%."
)
ONNX_EXTRA = "pip install 'raprune[onnx]'"
EXPORTED = (
    f"A .pt2 file needs torch alone. For ONNX Runtime write {command_html('--format onnx --out small.onnx')} instead, "
    f"which needs {command_html(ONNX_EXTRA)}."
)
WORDS = {
    "filter": "what produces one channel of a convolution's output; without it, the network is smaller",
    "baseline": "the trained network before pruning",
    "drop": "the baseline's score minus the smaller network's; negative where the smaller one is better",
    "drop bound": "the largest drop that was allowed, for the whole network, on the images that decide",
    "validation, guard, test": "images that choose filters; that check the bound; that are scored once, at the end",
    "candidate": "a choice of filters in one layer that was scored",
    "trial": "one run of a method under one bound",
    "matched": "prunes as many filters in every layer as its partner, but chooses them in another way",
    "multiply-adds, MACs": "the work that the network does for one image",
}
"""What a reader needs who did not run the study."""
ALONE = "A single baseline has no interval and shows nothing yet: repeat the study over seeds."


def in_html(entries: Sequence[Entry]) -> str:
    """The entries of the answer, one below the other."""
    several = len({entry["study"] for entry in entries if entry["kind"] == "bound"}) > 1
    bounds = [_bound(entry, several) for entry in entries if entry["kind"] == "bound"]
    told = [f"<p class='none'>{escape(entry['text'])}</p>" for entry in entries if entry["kind"] == "none"]
    verdicts = [f"<p class='verdict'>{escape(said)}</p>" for said in (_matched(entries), _unmatched(entries)) if said]
    if any(entry["kind"] == "verdict" and entry["lowest"] is None for entry in entries):
        verdicts.insert(0, f"<p class='note'>{escape(ALONE)}</p>")
    spent = [f"<p class='note'>{escape(_spent(entry))}</p>" for entry in entries if entry["kind"] == "spent"]
    rule = f"<p class='note'>{escape(RULE)}</p><p class='note'>{EXPORTED}</p>{_words()}" if bounds else ""
    if more := bounds[SHOWN:]:
        bounds[SHOWN:] = [f"<details><summary>{len(more)} more</summary>{''.join(more)}</details>"]
    parts = "".join([*told, *bounds, *verdicts, *spent])
    return f"<div class='answer'>{parts}{rule}</div>"


def _words() -> str:
    rows = "".join(f"<dt>{escape(word)}</dt><dd>{escape(said)}</dd>" for word, said in WORDS.items())
    return f"<details class='help'><summary>What the words mean</summary><dl>{rows}</dl></details>"


def _bound(entry: Entry, named: bool) -> str:
    of = [entry["study"] if named else "", entry["of"], entry["context"]]
    name = f"Drop bound {amount(float(entry['bound']), entry['unit'])} of {entry['score']}"
    small = f" <small>{escape(', '.join(filter(None, of)))}</small>"
    best = entry["best"]
    if best is None:
        why = f"None of {counted(entry['num_trials'], 'trial')} is within it on validation and guard images."
        return f"<article class='entry'><h3>{escape(name)}{small}</h3><p class='over'>{escape(why)}</p></article>"
    facts = {
        "Removes": _removed(best["removed"]),
        "Runs": _runs(best),
        "Costs": _costs(best, entry["unit"]),
        "Took": _took(best),
        "Repeated": _repeated(best["repeated"], entry["unit"]),
    }
    rows = "".join(f"<dt>{what}</dt><dd>{said}</dd>" for what, said in facts.items() if said)
    trial = f"<dt>Trial</dt><dd>{escape(best['trial'])} {trial_link(best['trial_id'])}</dd>"
    export = f"<dt>Export</dt><dd>{command_html(best['export'])}</dd>"
    head = f"<h3>{escape(name)}{small}</h3><p class='headline'>{escape(_headline(best))}</p>"
    return f"<article class='entry'>{head}<dl class='facts'>{rows}{trial}{export}</dl></article>"


def _headline(best: Entry) -> str:
    """``78.1% fewer multiply-adds, 1.03 times as fast at batch size 1``."""
    fewer = f"{best['removed']['multiply-adds']['share']:.1%} fewer multiply-adds"
    if not best["times"]:
        return fewer
    first = best["times"][0]
    return f"{fewer}, {first['times_faster']:.2f} times as fast at batch size {first['batch_size']}"


def _removed(removed: Entry) -> str:
    parts = [
        f"{part['share']:.1%} of the {name} ({short_count(part['before'])} to {short_count(part['after'])})"
        for name, part in removed.items()
    ]
    return escape(", ".join(parts))


def _runs(best: Entry) -> str:
    if not best["times"]:
        return f"Not measured: {command_html(best['bench'])}"
    parts = [
        f"{time['times_faster']:.2f} times as fast at batch size {time['batch_size']} ({time['backend']}, "
        f"{time['device']}, {counted(time['threads'], 'thread')})"
        for time in best["times"]
    ]
    return escape("; ".join(parts))


def _costs(best: Entry, unit: str) -> str:
    lost = best["lost"]
    parts = [f"{change(part['drop'], unit)} on {split}{_scores(part, unit)}" for split, part in lost.items()]
    words = f"{', '.join(parts)}. "
    over = [split for split, part in lost.items() if not part["within"]]
    held = [split for split, part in lost.items() if part["within"]]
    said = escape(words + (f"Within the bound on {listed(held)}." if held else ""))
    if over:
        said += f" <b class='over'>Over the bound on {escape(listed(over))}.</b>"
    if (limit := best["limit"]) is not None:
        more = f"{'at most' if limit > 0 else 'at least'} {change(limit, unit)} on fresh images"
        beyond = ", more than the bound: the guard is too small to rule that out" if limit > best["bound"] else ""
        said += escape(f" By the guard, {more}{beyond}.")
    return said if "test" in lost else f"{said} There is no test split."


def _scores(part: Entry, unit: str) -> str:
    """`` (99.1% to 98.4%)``: the baseline's score and that of the smaller network, where both are known."""
    if part["before"] is None or part["after"] is None:
        return ""
    sign = "%" if unit == "points" else f" {unit}"
    return f" ({part['before']:.1f}{sign} to {part['after']:.1f}{sign})"


def _matched(entries: Sequence[Entry]) -> str:
    """All comparisons at the same number of filters, before fine-tuning and at the end; empty without one."""
    parts = []
    for entry in (entry for entry in entries if entry["kind"] == "verdict" and entry["about"] == "matched"):
        unit, end = entry["unit"], entry["end"]
        at_end = "as much" if end and amount(abs(end["gap"]), unit) == amount(0.0, unit) else None
        then = f"; at the end, {at_end or _loses(end, unit)}{_interval(end)}" if end else ""
        before = f"{_loses(entry, unit)} than {entry['against']}{_interval(entry)}"
        parts.append(f"before fine-tuning, {entry['of']} loses {before}{then}.")
    parts[1:] = [f"B{part[1:]}" for part in parts[1:]]
    return f"At the same number of filters in every layer: {' '.join(parts)}" if parts else ""


def _loses(gap: Entry, unit: str) -> str:
    """``3.2 points less``."""
    return f"{amount(abs(gap['gap']), unit)} {'more' if gap['gap'] < 0 else 'less'}"


def _unmatched(entries: Sequence[Entry]) -> str:
    """One sentence of all comparisons within the same bound; empty without one."""
    found = [entry for entry in entries if entry["kind"] == "verdict" and entry["about"] == "unmatched"]
    parts = []
    for of in dict.fromkeys(entry["of"] for entry in found):
        own = [_than(entry) for entry in found if entry["of"] == of]
        parts.append(f"{of} removes {listed(own)}")
    return f"Within the same bound: {'; '.join(parts)}." if parts else ""


def _than(entry: Entry) -> str:
    """``3.2 points of the multiply-adds more than magnitude``, with its interval."""
    more = "less" if entry["gap"] < 0 else "more"
    removes = f"{amount(abs(entry['gap']), entry['unit'])} of the multiply-adds"
    return f"{removes} {more} than {entry['against']}{_interval(entry)}"


def _interval(gap: Entry) -> str:
    """Its interval and whether that shows a difference; empty for a single baseline."""
    if gap["lowest"] is None:
        return ""
    over = f"[{gap['lowest']:.1f}, {gap['highest']:.1f}], {gap['num_baselines']} baselines"
    return f" ({over}{'' if gap['shown'] else '; no difference is shown'})"


def _took(best: Entry) -> str:
    parts = [counted(best["candidates"], "candidate"), duration(best["seconds"])]
    if best["evaluators"]:
        parts.append(f"on {counted(best['evaluators'], 'evaluator')}")
    return escape(", ".join(filter(None, parts)))


def _repeated(repeated: Entry | None, unit: str) -> str:
    if repeated is None:
        return ""
    lost = repeated["test_score_drop"] if repeated["test_score_drop"]["mean"] is not None else None
    split, lost = ("test", lost) if lost else ("validation", repeated["val_score_drop"])
    share = {name: None if value is None else 100 * value for name, value in repeated["macs_removed"].items()}
    trials, baselines = counted(repeated["num_trials"], "trial"), counted(repeated["num_baselines"], "baseline")
    macs, drop = _mean(share, "%"), _mean(lost, f" {unit}")
    mean = f"on average {macs} of the multiply-adds removed and a {split} drop of {drop}"
    return escape(f"{trials} of these settings, {baselines}: {mean}")


def _mean(of: Entry, unit: str) -> str:
    """A mean with its 95% interval, where there is one."""
    known = f" [{of['lowest']:.1f}, {of['highest']:.1f}]" if of["lowest"] is not None else ""
    return f"{of['mean']:.1f}{unit}{known}"


def _spent(entry: Entry) -> str:
    """What the whole study took."""
    parts = [counted(entry["candidates"], "candidate"), duration(entry["seconds"])]
    return f"All {counted(entry['num_trials'], 'trial')} together: {', '.join(filter(None, parts))}."


def change(drop: float, unit: str) -> str:
    """A drop in words: ``0.7 points lost``, ``0.3 points gained``, ``nothing lost``."""
    if abs(drop) < 0.005:
        return "nothing lost"
    return f"{amount(abs(drop), unit)} {'lost' if drop > 0 else 'gained'}"


def amount(value: float, unit: str) -> str:
    """``0.67 points``, ``1 point``, ``2.5 dB``."""
    shown = f"{value:.2f}".rstrip("0").rstrip(".")
    return f"{shown} {'point' if unit == 'points' and shown == '1' else unit}"


def listed(words: Sequence[str]) -> str:
    """``validation, guard and test``."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def counted(number: float | None, noun: str) -> str:
    """``1,234 candidates``; empty where it is unknown."""
    return "" if number is None else f"{number:,.0f} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float | None) -> str:
    """``42 s``, ``3.5 min``, ``1.2 h``."""
    if seconds is None:
        return ""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
