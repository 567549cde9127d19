"""The measurements for people: a table, then a sentence for whatever needs explaining."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table

from raprune.artefact.trials import TrialNetworks, label
from raprune.bench.gathers import Gathers
from raprune.bench.measuring import Cell
from raprune.bench.proposal import Proposal
from raprune.bench.timing import Times
from raprune.study.wording import counted

BEHIND = 0.9
"""A speed-up below this share of what multiply-adds suggest gets a remark."""


def heading(trial: TrialNetworks) -> str:
    """Which trial, and what it could gain at most by its multiply-adds."""
    old, new = trial.macs["baseline"], trial.macs["pruned"]
    return (
        f"{trial.row['study']}, trial {trial.store.folder.name}: {label(trial.study_dir, trial.store.folder.name)}\n"
        f"multiply-adds for one image: baseline {old:,}, pruned {new:,}. If time followed them: "
        f"old/new {trial.macs_ratio:.2f}, {1 - new / old:.1%} of the time saved"
    )


def speed_table(cells: Sequence[Cell], trial: TrialNetworks) -> Table:
    """A row for each device, backend and batch size."""
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("device\n", no_wrap=True)
    table.add_column("backend\n", no_wrap=True)
    for name in (
        "batch\nsize", "baseline ms\nmedian (quartiles)", "pruned ms\nmedian (quartiles)", "old/new\nmeasured",
        "old/new\nby macs", "time\nsaved", "peak MiB\nold > new",
    ):  # fmt: skip
        table.add_column(name, justify="right", no_wrap=True)
    for cell in cells:
        table.add_row(
            cell.device,
            cell.backend,
            str(cell.batch_size),
            *(_milliseconds(cell.times[name]) for name in cell.times),
            f"{cell.ratio:.2f}",
            f"{trial.macs_ratio:.2f}",
            f"{cell.time_saved:.1%}",
            " > ".join(_mebibytes(cell.memory[name]) for name in cell.memory),
        )
    return table


def remarks(
    trial: TrialNetworks, cells: Sequence[Cell], gathers: Gathers, shares: Mapping[int, float]
) -> Iterator[str]:
    """What the table does not tell; ``shares``: batch size -> share of the pruned network's time in its gathers."""
    yield from _rounding(trial)
    if gathers.layers:
        yield _gathering(trial, gathers, shares)
    yield from _without_gathers(trial, cells, shares)
    slower = [cell for cell in cells if cell.ratio < 1]
    if slower:
        yield f"The pruned network is slower than the baseline: {_listed(slower)}."
    behind = [cell for cell in cells if 1 <= cell.ratio < BEHIND * trial.macs_ratio]
    if behind:
        yield (
            f"Less than its multiply-adds suggest ({trial.macs_ratio:.2f}): {_listed(behind)}. They leave out memory "
            "traffic, norms, activations, the cost of each call, and that kernels favour some numbers of filters."
        )


def _rounding(trial: TrialNetworks) -> Iterator[str]:
    """What rounding the kept filters up cost."""
    round_to = trial.row.get("round_to") or 1
    if round_to > 1:
        layers: list[dict[str, Any]] = trial.store.layer_rows()
        kept, decided = (sum(row[column] for row in layers) for column in ("num_kept", "num_decided"))
        more = [f"{row['layer']} {row['num_decided']} to {row['num_kept']}" for row in layers if _rounded(row)]
        yield (
            f"round_to {round_to} kept {counted(kept - decided, 'filter')} more than were decided ({kept} instead of "
            f"{decided})" + (f": {', '.join(more)}." if more else ".")
        )


def _rounded(row: Mapping[str, Any]) -> bool:
    return bool(row["num_kept"] > row["num_decided"])


def _gathering(trial: TrialNetworks, gathers: Gathers, shares: Mapping[int, float]) -> str:
    names = ", ".join(f"{layer} ({module})" for module, layer in gathers.layers.items())
    times = " and ".join(f"{share:.0%} at batch size {size}" for size, share in shares.items())
    return (
        f"residual: {trial.row['residual']}: the summands of its sums keep different filters, so the channels of "
        f"{len(gathers.layers)} are gathered into place before they are added: {names}. That takes {times} of the "
        "pruned network's time (eager, cpu), and multiply-adds do not count it."
    )


def _without_gathers(trial: TrialNetworks, cells: Sequence[Cell], shares: Mapping[int, float]) -> Iterator[str]:
    """Where the gathers are what makes it slower: what it would be without them."""
    for cell in cells:
        share = shares.get(cell.batch_size, 0.0)
        without = cell.ratio / (1 - share)
        if (cell.device, cell.backend) == ("cpu", "eager") and share and cell.ratio < BEHIND * trial.macs_ratio:
            yield (
                f"Batch size {cell.batch_size}, eager, cpu: old/new is {cell.ratio:.2f} and would be {without:.2f} "
                f"without the gathers; multiply-adds say {trial.macs_ratio:.2f}. residual: coupled has none."
            )


def _listed(cells: Sequence[Cell]) -> str:
    return ", ".join(f"{cell.device} {cell.backend} batch {cell.batch_size} ({cell.ratio:.2f})" for cell in cells)


def proposal_lines(proposal: Proposal) -> Iterator[str]:
    """The batch size that scores fastest, and what to do with it."""
    rates = ", ".join(f"{size}: {rate:,.0f}" for size, rate in proposal.rates.items())
    threads = f"{proposal.scoring.threads} thread{'' if proposal.scoring.threads == 1 else 's'}"
    yield f"Scoring, images per second by batch size (baseline, {proposal.device}, {threads}): {rates}"
    own = proposal.rates.get(proposal.own)
    if proposal.best == proposal.own:
        yield f"The study's batch size of {proposal.scoring.batch_size} is as good as any."
        return
    gain = f" ({proposal.rates[proposal.best] / own - 1:+.0%} on its {proposal.scoring.batch_size})" if own else ""
    yield f"To score faster{gain}, put into the study:"
    yield f"  {proposal.setting}"
    yield "It is part of every trial's id, so all trials would run again; nothing changes by itself."


def _milliseconds(times: Times) -> str:
    low, median, high = (_short(1000 * seconds) for seconds in times.quartiles)
    return f"{median} ({low} to {high})"


def _short(number: float) -> str:
    """Three digits that count, and never an exponent."""
    return f"{number:,.0f}" if number >= 100 else f"{number:#.3g}"


def _mebibytes(size: int | None) -> str:
    return "unknown" if size is None else f"{size / 2**20:.1f}"
