"""What a person reads, and the command from start to end."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from rich.console import Console

from raprune import cli
from raprune.artefact.trials import TrialNetworks
from raprune.bench import proposal as proposing
from raprune.bench.gathers import Gathers
from raprune.bench.measuring import Cell
from raprune.bench.proposal import Proposal, propose
from raprune.bench.report import heading, proposal_lines, remarks, speed_table
from raprune.bench.timing import Times
from raprune.results import read_study
from raprune.study.parts import ScoringSpec


def cell(old_s: float, new_s: float, batch_size: int = 1, backend: str = "eager") -> Cell:
    times = {"baseline": Times((old_s,)), "pruned": Times((new_s,))}
    return Cell("cpu", backend, batch_size, times, {"baseline": 2**20, "pruned": None})


def test_the_table_shows_old_over_new_and_time_saved(independent: TrialNetworks) -> None:
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(speed_table([cell(0.012, 0.008)], independent))
    (line,) = [line for line in console.export_text().splitlines() if "eager" in line]
    assert "12.0 (12.0 to 12.0)" in line
    assert "8.00 (8.00 to 8.00)" in line
    assert line.split()[-6:] == ["1.50", f"{independent.macs_ratio:.2f}", "33.3%", "1.0", ">", "unknown"]
    assert f"old/new {independent.macs_ratio:.2f}" in heading(independent)
    assert "drop_bound 2.0, method agent" in heading(independent)


def test_gathers_are_blamed_where_they_cost(independent: TrialNetworks) -> None:
    gathers = Gathers({"align_0": "layer1.0.conv2", "align_3": "add"})
    said = list(remarks(independent, [cell(0.9, 1.0), cell(1.0, 0.99, 64)], gathers, {1: 0.25, 64: 0.5}))
    assert "layer1.0.conv2 (align_0), add (align_3)" in said[1]
    assert "25% at batch size 1 and 50% at batch size 64 of the pruned network's time" in said[1]
    assert "Batch size 1, eager, cpu: old/new is 0.90 and would be 1.20 without the gathers" in said[2]
    assert "Batch size 64, eager, cpu: old/new is 1.01 and would be 2.02 without the gathers" in said[3]
    assert said[4] == "The pruned network is slower than the baseline: cpu eager batch 1 (0.90)."
    assert "cpu eager batch 64 (1.01)" in said[5]
    assert len(said) == 6


def test_nothing_is_said_where_nothing_is_amiss(independent: TrialNetworks) -> None:
    fast = cell(independent.macs_ratio, 1.0)
    (only,) = remarks(independent, [fast], Gathers({}), {})
    assert only == "round_to 4 kept 2 filters more than were decided (8 instead of 6): features.0 6 to 8."


def test_the_smallest_of_the_fastest_batch_sizes_is_proposed() -> None:
    rates = {8: 500.0, 64: 990.0, 250: 700.0, 512: 1000.0}
    found = Proposal(rates, ScoringSpec(batch_size=250), 250, "cpu")
    assert found.best == 64
    said = list(proposal_lines(found))
    assert said[1:3] == ["To score faster (+41% on its 250), put into the study:", "  scoring: {batch_size: 64}"]
    threads = Proposal(rates, ScoringSpec(batch_size=64, threads=2), 64, "cpu")
    assert threads.setting == "scoring: {batch_size: 64, threads: 2}"
    assert list(proposal_lines(threads))[1] == "The study's batch size of 64 is as good as any."


def test_batch_sizes_are_measured_up_to_the_images_there_are(
    independent: TrialNetworks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proposing, "ROUND_S", 0.0)
    found = propose(independent)
    assert list(found.rates) == [8, 16, 32, 40, 50]  # 40 is the study's, and there are 50 validation images
    assert all(rate > 0 for rate in found.rates.values())
    monkeypatch.setattr(proposing, "LONGEST_S", 0.0)
    assert list(propose(independent).rates) == [8]


def test_the_command_writes_rows_and_says_where(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proposing, "LONGEST_S", 0.0)  # one batch size: the test above has them all
    monkeypatch.setattr(proposing, "ROUND_S", 0.0)
    arguments = ["bench", str(folder), "--runs", "2", "--batch-size", "2", "--backend", "eager"]
    monkeypatch.setattr(sys, "argv", ["raprune", *arguments])
    cli.main()
    out = capsys.readouterr().out
    assert "are gathered into place before they are added: layer1.0.conv2 (align_" in out
    assert f"rows in {folder / 'speed.parquet'}; raprune report {folder.parent.parent} draws them" in out
    speed = read_study(folder.parent.parent).speed
    assert list(speed["network"]) == ["baseline", "pruned"]
    assert (speed["peak_memory_bytes"].isna() | (speed["peak_memory_bytes"] > 0)).all()
    assert set(speed["num_runs"]) == {2}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["{study}"], "is a study; name one of its trials:\n  raprune bench"),
        (["{trial}", "--backend", "eagre"], "no backend is called 'eagre'; did you mean 'eager'?"),
        (["{trial}", "--runs", "0"], "--runs"),
    ],
)
def test_bad_input_is_two(
    made: Path,
    arguments: list[str],
    sentence: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    places = {"study": made.parent.parent, "trial": made}
    monkeypatch.setattr(sys, "argv", ["raprune", "bench", *(a.format(**places) for a in arguments)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    assert sentence in capsys.readouterr().err
