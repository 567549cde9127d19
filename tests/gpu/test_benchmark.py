"""``benchmarks/gpu.py``: what it writes where, and that it ends without a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks import gpu
from benchmarks.marked import BEGIN, END, replaced
from tests.tiny import engine_of, lively_vgg, own_labels

PAGE = f"# On a GPU\n\nBefore.\n\n{BEGIN}\nold\n{END}\n\nAfter.\n"


def test_without_a_gpu_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    page = tmp_path / "gpu.md"
    page.write_text(PAGE)
    with pytest.raises(SystemExit, match="torch finds no GPU on this machine, so nothing was measured or written"):
        gpu.main(["--tests", "--write", str(page)])
    assert page.read_text() == PAGE


def test_only_what_is_between_the_marks_is_replaced() -> None:
    assert replaced(PAGE, r"new \1") == PAGE.replace("old", r"new \1")
    assert replaced((gpu.ROOT / "docs" / "gpu.md").read_text(), "").count(END) == 1
    for page in ("", PAGE + PAGE, PAGE.replace(END, "")):
        with pytest.raises(SystemExit, match="the file must have"):
            replaced(page, "new")


def test_the_papers_study_is_not_spread_over_more_cards_than_it_asks_for() -> None:
    *_, line = gpu.paper(3600 / 391 / 26_000, gpu.SMALL[0])
    assert line.endswith("at most 20 candidates at once: 1.0 h on 1, 0.1 h on 8, 0.1 h on 64")
    *_, line = gpu.paper(3600 * 400 / 391 / 26_000, gpu.SMALL[0])
    assert line.endswith("400.0 h on 1, 50.0 h on 8, 20.0 h on 64")


@pytest.mark.slow
def test_all_of_it_runs_in_small_on_a_processor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "gpu.md"
    page.write_text(PAGE)
    gpu.main(["--device", "cpu", "--write", str(page)])
    printed, written = capsys.readouterr().out, page.read_text()
    assert written == replaced(PAGE, printed.strip("\n"))
    assert f"on one cpu with torch {torch.__version__}" in printed
    for part in (
        "images/s",
        "% of the best convolution",
        "stacked ms",
        "mean",
        "launched",
        "replayed",
        "together",
        "h on 64",
    ):
        assert part in printed
    assert "left out" not in printed


class Broken:
    """A benchmark of which one part fails."""

    def __init__(self, *of: object) -> None:
        del of

    def rates(self) -> Iterator[str]:
        yield "begun"
        raise RuntimeError("no room\nmore")

    def candidates(self) -> Iterator[str]:
        yield "measured"

    finetunes = candidates


def test_a_part_that_fails_loses_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu, "Bench", Broken)
    page = tmp_path / "gpu.md"
    page.write_text(PAGE)
    with pytest.raises(SystemExit, match="some parts ended with an error"):
        gpu.main(["--device", "cpu", "--write", str(page)])
    assert "begun\nrates: ended with an error: RuntimeError: no room\nmeasured\nmeasured\n```" in page.read_text()
    assert "measured" in capsys.readouterr().out


def test_a_precision_that_the_device_lacks_is_left_out() -> None:
    bench = object.__new__(gpu.Bench)
    bench.size, bench.device = replace(gpu.SMALL[0], precisions=("tf32",)), torch.device("cpu")
    bench.workload = engine_of(network := lively_vgg(), own_labels(network, 20)).workload
    _, left_out, *paper = bench.finetunes()
    assert left_out.startswith("tf32 precision: left out (fidelity.precision: tf32 needs an NVIDIA GPU")
    assert not paper


def test_what_no_time_is_left_for_is_left_out() -> None:
    lines = list(gpu.measured(torch.device("cpu"), gpu.SMALL, "", ends=float("-inf")))
    assert [line for line in lines if "left out" in line] == [
        f"{part}: left out, the time was up" for part in ("rates", "candidates", "finetunes")
    ]
