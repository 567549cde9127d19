"""What ``raprune compare`` prints: the verdict in sentences, a small table, and what is not like with like."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rich.table import Table

from raprune.results import short_count
from raprune.results.comparing import BASELINE, Comparison, Differs, Group
from raprune.results.sides import REMOVED
from raprune.study.wording import counted

FEW = 5
"""Baselines below which a bootstrap over them is too narrow to be trusted."""
LONGEST = 60


def verdict_lines(found: Comparison) -> Iterator[str]:
    """One sentence a group, or why the sides are not comparable."""
    if found.obstacles:
        why = "; ".join(_differs(one) for one in found.obstacles)
        yield f"{found.names[0]} and {found.names[1]} are not comparable: {why}"
    yield from (_sentence(found, group) for group in found.groups)


def remark_lines(found: Comparison) -> Iterator[str]:
    """What a reader of the verdict must know."""
    if not found.obstacles and found.differs:
        one = len(found.differs) == 1
        means = "" if one else ", so the difference is that of all of these together"
        yield f"{'only this differs' if one else 'these differ'}{means}: {'; '.join(map(_differs, found.differs))}"
    elif not found.obstacles:
        yield "nothing that was asked of the two sides differs"
    numbers = {group.num_baselines for group in found.groups}
    if 1 in numbers:
        yield (
            "no interval can be given: all pairs are of one baseline, and one baseline cannot show how much the "
            "difference varies between baselines; run both sides with several seeds (sweep: {seed: [0, 1, 2, 3, 4]})"
        )
    if few := [number for number in numbers if 1 < number < FEW]:
        yield f"an interval over {min(few)} baselines is too narrow: with {FEW} or more it can be trusted"
    if found.num_unpaired and not found.obstacles:
        yield f"{counted(found.num_unpaired, 'trial')} without a partner on the other side left out"


def comparison_table(found: Comparison) -> Table:
    """A row per group: what each side removes, and the differences, first side minus second."""
    table = Table(box=None, header_style="bold")
    splits = [split for split in ("val", "guard", "test") if any(split in group.drops for group in found.groups)]
    keys = list(dict.fromkeys(key for group in found.groups for key in group.shared))
    heads = [*keys, *(f"{name}: removed" for name in found.names), "difference"]
    for head in [*heads, *(f"{split} drop" for split in splits), "candidates", "pairs", "baselines"]:
        table.add_column(head, justify="left" if head in keys else "right")
    for group in found.groups:
        drops = [shown(*group.drops[split]) if split in group.drops else "-" for split in splits]
        asked = " / ".join(short_count(number) or "?" for number in group.num_candidates)
        table.add_row(
            *(group.shared[key] for key in keys), *(f"{share:.1f}%" for share in group.removed),
            shown(group.difference, group.lowest, group.highest), *drops, asked, str(group.num_pairs),
            str(group.num_baselines),
        )  # fmt: skip
    return table


def as_json(found: Comparison) -> dict[str, Any]:
    """The comparison as plain data; unknown numbers are null."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(part) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return [plain(part) for part in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    found_plain: dict[str, Any] = plain(asdict(found))
    return {"verdict": list(verdict_lines(found)), "remarks": list(remark_lines(found)), **found_plain}


def shown(mean: float, low: float, high: float) -> str:
    """``+5.1 [+2.0, +8.3]``, in points; the mean alone where there is no interval."""
    return f"{mean:+.1f}" if math.isnan(low) else f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]"


def _sentence(found: Comparison, group: Group) -> str:
    a, b = found.names
    where = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in group.shared.items())
    much = f"{abs(group.difference):.1f}"
    if much == "0.0":
        says = f"{a} prunes as much of the {REMOVED[found.on]} as {b}"
    else:
        more = "more" if group.difference > 0 else "less"
        points = "point" if much == "1.0" else "points"
        says = f"{a} prunes {much} {points} {more} of the {REMOVED[found.on]} than {b}"
    if math.isnan(group.lowest):
        certainty = "on one baseline, so without an interval"
    else:
        limits = f"95% interval {group.lowest:.1f} to {group.highest:.1f} over {group.num_baselines} baselines"
        is_shown = group.lowest > 0 or group.highest < 0
        certainty = limits if is_shown else f"{limits}: it may be chance"
    begin = f"At {where}, " if where else ""
    said = f"{begin}{says} ({certainty}), {_candidates(*group.num_candidates)}."
    return said[0].upper() + said[1:]


def _candidates(a: float, b: float) -> str:
    """At how many times the candidates."""
    if math.isnan(a) or math.isnan(b) or not a or not b:
        return f"with {short_count(a) or 'unknown'} candidates against {short_count(b) or 'unknown'}"
    ratio = a / b
    return "at as many candidates" if 0.95 <= ratio <= 1.05 else f"at {ratio:.2g} times the candidates"


def _differs(one: Differs) -> str:
    if one.what == BASELINE:
        return "they share no baseline (each was run on baselines that the other has not)"
    name, values = one.what.replace("_", " "), [one.a, one.b]
    cut = [value if len(value) <= LONGEST else f"{value[:LONGEST]}..." for value in values]
    return f"{name} {' against '.join(cut)}"
