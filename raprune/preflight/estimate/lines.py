"""An estimate as text for the console."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from raprune.preflight.estimate.clock import LATER_SIGMA
from raprune.preflight.estimate.course import CALL_S
from raprune.preflight.estimate.study import Estimate
from raprune.registry import METHODS
from raprune.study.wording import counted

ENOUGH = 1.05
"""More evaluators hardly help once the study takes at most this many times as long as without a limit."""
NO_LIMIT = 2**20
ALONE = 0.95
"""Above this share of the processors' time, other processes are not worth mentioning."""
MIB, GIB = 2**20, 2**30


def heading(estimate: Estimate) -> str:
    """What was timed, and where."""
    what = "; ".join(estimate.timed)
    return f"timed here on {estimate.device} in {estimate.timed_s:.0f} s: {what}"


def facts_of(estimate: Estimate) -> Iterator[str]:
    """Candidates, memory and results."""
    *waves, last = estimate.course.waves
    searched = sum(map(len, waves))
    low, _, high = estimate.candidates
    matched = f"; {len(last)} more prune to another's numbers" if last else ""
    suggested = " that the search suggests" if estimate.plan.spec.search is not None else ""
    number = f"{low:,.0f}" if f"{low:,.0f}" == f"{high:,.0f}" else f"{low:,.0f} to {high:,.0f}"
    yield f"candidates: {number}, of {counted(searched, 'trial')}{suggested}{matched}"
    yield _memory(estimate)
    yield f"results: {_size(estimate.results_bytes)}, the report not counted"


def hours_table(estimate: Estimate) -> Table:
    """One row for each number of evaluators."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("evaluators", "hours, 80% interval", "h:mm:ss", "middle", "busy"):
        table.add_column(name, justify="right", no_wrap=True)
    for number, (low, mid, high) in estimate.hours.items():
        busy = "" if number == 0 else f"{_busy(estimate, number):.0%}"
        hours, clock = f"{_hours(low)} to {_hours(high)}", f"{_clock(low)} to {_clock(high)}"
        table.add_row(str(number or "in process"), hours, clock, _hours(mid), busy)
    return table


def limits(estimate: Estimate) -> Iterator[str]:
    """The number of evaluators beyond which more hardly help, and why."""
    course, enough = estimate.course, 1
    best, masks = course.hours(NO_LIMIT), [work.masks_per_update for work in course.waves[0]]
    while course.hours(enough) > ENOUGH * best:
        enough += 1 if enough < 16 else enough // 8
    most, together = max(masks, default=1), sum(masks)
    yield (
        f"more than {counted(enough, 'evaluator')} hardly help: with any number it takes {_hours(best)} hours. "
        f"At most {counted(together, 'mask')} {'is' if together == 1 else 'are'} scored at once, from "
        f"{counted(len(masks), 'trial')} with M = {counted(most, 'mask')} per update; the "
        f"rest is one call after another: {_path(estimate)}"
    )


def uncertain(estimate: Estimate) -> str:
    """What makes the interval as wide as it is."""
    crowd, later = "", f", ±{LATER_SIGMA:.0%} from one hour to another" if estimate.device == "cpu" else ""
    if estimate.share < ALONE:
        crowd = f"; other processes used {1 - estimate.share:.0%} of it, and may use more or less later"
    learns = any(not METHODS.get(trial.method.name).declared.get("ranks") for trial in estimate.plan.trials)
    agents = "how soon agents converge, " if learns else ""
    return (
        f"uncertain: {agents}how much is trimmed, how early hopeless candidates are given up, how "
        "many candidates the memo knows, how far the network is pruned along the way, and this machine's speed "
        f"(±{estimate.sigma:.0%} while timing{later}{crowd}). Other machines are assumed to be as fast. docs/cost.md "
        "says how these are combined"
    )


def _path(estimate: Estimate) -> str:
    """Shares of the longest trial of each wave, and of what comes before the trials."""
    course = estimate.course
    longest = [max(wave, key=lambda work: work.path_s(NO_LIMIT)) for wave in course.waves if wave]
    parts = {
        "start": course.start_s + course.open_s,
        "baseline": max(course.baselines_s, default=0.0),
        "updates": sum(work.rounds_s(NO_LIMIT) for work in longest),
        "masks one by one": sum(work.search_s for work in longest),
        "fine-tunes and scores of states": sum(work.commit_s for work in longest),
        "trials' own work and calls": sum(work.own_s + work.num_calls * CALL_S for work in longest),
    }
    total = sum(parts.values())
    by_size = sorted(parts.items(), key=lambda part: -part[1])
    return ", ".join(f"{name} {seconds / total:.0%}" for name, seconds in by_size if seconds >= 0.01 * total)


def _busy(estimate: Estimate, number: int) -> float:
    """Share of the time for which evaluators are busy."""
    course = estimate.course
    asked_s = sum(work.evaluator_s for wave in course.waves for work in wave) + sum(course.baselines_s)
    return min(1.0, asked_s / number / (3600 * course.hours(number)))


def _memory(estimate: Estimate) -> str:
    held = max(estimate.held.values(), key=lambda h: h.networks + h.working)
    data, prefixes = max(h.data for h in estimate.held.values()), max(h.prefixes for h in estimate.held.values())
    own = {"networks": held.networks, "a batch in training or scoring": held.working}
    own |= {"batches decoded ahead": held.ahead} if held.ahead else {}
    encoded = max(h.encoded for h in estimate.held.values())
    files = _files(max(h.pixels for h in estimate.held.values()), max(h.copied for h in estimate.held.values()))
    if estimate.libraries.num_bytes is not None:
        own = {"libraries": estimate.libraries.num_bytes, **own}
    if estimate.gpu_bytes is not None:
        on_host = ("libraries", "batches decoded ahead")
        host = ", ".join(f"{name} {_size(size)}" for name, size in own.items() if name in on_host)
        shared = f"; shared by all on a host: encoded images {_size(encoded)}" if encoded else ""
        on_gpu = f"{_size(estimate.gpu_bytes)} on its GPU, as measured"
        return f"memory: per evaluator {on_gpu}, and on its host {host}{shared}{files}"
    parts = ", ".join(f"{name} {_size(size)}" for name, size in own.items())
    still = f", {_size(encoded)} of them still encoded" if encoded else ""
    shared = f"images {_size(data + encoded)}{still}, prefixes at most {_size(prefixes)}"
    return f"memory: per evaluator {_size(sum(own.values()))} ({parts}); shared by all on a host: {shared}{files}"


def _files(pixels: int, copied: int) -> str:
    """What lies in the cache of each host."""
    parts = [f"{_size(pixels)} of pixels, which all map"] if pixels else []
    parts += [f"{_size(copied)} of encoded images"] if copied else []
    return f"; in data.cache on the disk of each host: {', and '.join(parts)}" if parts else ""


def _size(number: float) -> str:
    return (
        f"{number / GIB:.1f} GiB" if number >= GIB else f"{number / MIB:,.0f} MiB" if number >= MIB else "under 1 MiB"
    )


def _hours(hours: float) -> str:
    """Hours with two or three digits."""
    if hours >= 10:
        return f"{hours:,.0f}" if hours >= 100 else f"{hours:.1f}"
    return f"{hours:.2f}" if hours >= 1 else f"{hours:.2g}"


def _clock(hours: float) -> str:
    minutes, seconds = divmod(round(hours * 3600), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
