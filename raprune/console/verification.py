"""What ``raprune verify`` prints: what differs, on what machine, and the verdict at the end."""

from __future__ import annotations

import platform
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from typing import Any

from rich.console import Console

from raprune.launch.verifying import ENGINES, EQUAL, REFUTED, ROUNDING, Finding, Verified
from raprune.study.wording import counted, shown
from raprune.trial.replay import Difference

MOST = 20
"""Findings of a kind that are listed."""
HEADINGS = {
    ENGINES: "differ between the engines; the study's own engine gives them here as recorded",
    ROUNDING: "differ by no more than another processor or version of torch rounds",
    REFUTED: "are not as recorded",
}
KINDS = {
    "layer": "committed layer",
    "joint pass": "joint pass",
    "low-rank layer": "low-rank layer",
    "network": "network at the end",
    "baseline": "baseline",
}
NEVER = (
    "that the methods would choose these masks again (tables updates and the order's own candidates), times, "
    "pictures and measured speed"
)


@contextmanager
def telling(console: Console) -> Iterator[Callable[[str], None]]:
    """What is being done: one live line on a terminal, a line each elsewhere."""
    if console.is_terminal and not console.is_dumb_terminal:
        with console.status("") as status:
            yield status.update
    else:
        yield partial(console.print, style="dim", markup=False, highlight=False, soft_wrap=True)


def verification_lines(found: Verified, manifest: Mapping[str, Any]) -> Iterator[str]:
    """Line by line; the last one is the verdict."""
    for judgement, heading in HEADINGS.items():
        findings = [finding for finding in found.findings if finding.judgement == judgement]
        if findings:
            yield f"{len(findings):,} {heading}:"
            yield from (f"  {_told(finding)}" for finding in findings[:MOST])
        if len(findings) > MOST:
            yield f"  and {len(findings) - MOST:,} more"
    yield from _machines(found, manifest)
    yield from (f"not checked: {what}" for what in [*found.unchecked, NEVER])
    yield verdict(found)


def verdict(found: Verified) -> str:
    """One sentence that begins with ``confirmed``, ``confirmed within rounding`` or ``refuted``."""
    num_refuted, num_rounded, num_engines = (_total(found, which) for which in (REFUTED, ROUNDING, ENGINES))
    word = "refuted" if num_refuted else "confirmed within rounding" if num_rounded else "confirmed"
    parts = [f"{found.number('candidate'):,} of {counted(found.num_candidates, 'candidate')}"]
    parts += [
        counted(found.number(kind), name, name.replace("network", "networks") if kind == "network" else "")
        for kind, name in KINDS.items()
        if found.number(kind)
    ]
    listed = f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]
    outcomes = []
    if num_refuted:
        outcomes.append(f"{num_refuted:,} not as recorded")
    if num_rounded:
        outcomes.append(f"{num_rounded:,} within rounding{_most(found, ROUNDING)}")
    if num_engines:
        outcomes.append(f"{num_engines:,} equal on the study's own engine only{_most(found, ENGINES)}")
    rest = "all equal" if not outcomes else f"{', '.join(outcomes)}, all others equal"
    return f"{word}: {listed} scored again on the naive engine in {found.seconds:.0f} s; {rest}"


def _total(found: Verified, judgement: str) -> int:
    return sum(number for (_, judged), number in found.counts.items() if judged == judgement != EQUAL)


def _most(found: Verified, judgement: str) -> str:
    images = [finding.images for finding in found.findings if finding.judgement == judgement and finding.images]
    return f" (by {_images(max(images))} at most)" if images else ""


def _images(number: float) -> str:
    return counted(round(number), "image") if abs(number - round(number)) < 1e-6 else f"{number:.2g} images' worth"


def _told(finding: Finding) -> str:
    some = "; ".join(_difference(difference) for difference in finding.differences[:4])
    more = f" and {len(finding.differences) - 4} more columns" if len(finding.differences) > 4 else ""
    images = f" ({_images(finding.images)})" if finding.images else ""
    return f"trial {finding.trial_id}, {finding.place}: {some}{more}{images}"


def _difference(difference: Difference) -> str:
    return f"{difference.column} recorded {_value(difference.recorded)}, now {_value(difference.now)}"


def _value(value: Any) -> str:
    if value is None:
        return "null"
    return f"{value:.9g}" if isinstance(value, float) else value if isinstance(value, str) else shown(value, 60)


def _machines(found: Verified, manifest: Mapping[str, Any]) -> Iterator[str]:
    """Where the study ran, where this runs, and whether both compute the same."""
    packages = manifest.get("packages", {})
    there = f"raprune {manifest.get('raprune')}, torch {packages.get('torch')}, {manifest.get('platform')}"
    here = f"torch {version('torch')}, {platform.platform()}, on {found.device}"
    yield f"the study ran on {manifest.get('host')} ({there}); this is {socket.gethostname()} ({here})"
    known = found.num_same_weights + found.num_other_weights
    if known:
        where = f"{found.num_same_weights} of {counted(known, 'trial')}"
        yield f"weights after the last commit equal to those on disk, bit by bit: in {where}"
    if found.approximate:
        names = ", ".join(sorted(found.approximate))
        yield f"candidates at fidelity {names} were scored by the study's own engine: the naive one has no fidelities"
