"""The life of the process: signals, streams that nobody reads, and a user's code that ends the process."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from raprune.results import read_study
from raprune.system.output import lenient
from raprune.system.quitting import STOP, Interrupted, quitting_is_a_fault
from tests.fuzz.running import call
from tests.fuzz.small import STUDY as SMALL
from tests.launch.runs import assert_same_rows, begin, run_tiny
from tests.launch.test_stop_and_go import ROOT, finish, layers, start, wait_for_layers
from tests.tiny import write_study
from tests.waiting import PATIENCE_S, until


def ignoring(*numbers: int) -> tuple[str, ...]:
    """A prefix under which a command ignores signals, as under ``nohup`` or behind ``&`` in a script."""
    names = " ".join(signal.Signals(number).name.removeprefix("SIG") for number in numbers)
    return ("sh", "-c", f"trap '' {names}; exec \"$@\"", "sh")


LONG = SMALL.replace("drop_bound: 30.0\n", "") + f"  drop_bound: {[float(bound) for bound in range(20, 40)]}\n"
"""The same trials again and again: a signal comes before the last of them."""
CASES = [
    (signal.SIGTERM, (signal.SIGINT, signal.SIGHUP)),
    pytest.param(signal.SIGHUP, (), marks=pytest.mark.slow),
    pytest.param(signal.SIGTERM, (), marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("number", "ignored"), CASES)
def test_a_signal_stops_the_study_at_once(
    small_study: tuple[Path, Path], tmp_path: Path, number: int, ignored: tuple[int, ...]
) -> None:
    shutil.copytree(small_study[1] / "baselines", tmp_path / "out" / "baselines")
    process = start(tmp_path, "--evaluators", "0", prefix=ignoring(*ignored) if ignored else (), text=LONG)
    wait_for_layers(tmp_path, 1, process)
    committed = len(layers(tmp_path))
    process.send_signal(number)
    text, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, text
    assert len(layers(tmp_path)) <= committed + 2  # one may have ended before the signal came, one as it did
    assert "resumes from the last committed layers" in text
    assert "Traceback" not in text
    assert "stopped" in set(read_study(tmp_path / "out").trials["status"])


@pytest.mark.slow
def test_ignored_signals_change_nothing(reference: Path, tmp_path: Path) -> None:
    process = start(tmp_path, "--evaluators", "0", prefix=ignoring(signal.SIGHUP, signal.SIGINT))
    wait_for_layers(tmp_path, 1, process)
    for number in (signal.SIGHUP, signal.SIGINT):
        process.send_signal(number)
    text, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, text
    assert_same_rows(reference, tmp_path / "out")


@pytest.mark.slow
@pytest.mark.parametrize("evaluators", ["0", "1"])
def test_signals_without_end(reference: Path, tmp_path: Path, evaluators: str) -> None:
    """Ctrl-C again and again, through the stop, Ray's end and Python's: the same stop, and no traceback."""
    process = start(tmp_path, "--evaluators", evaluators)
    wait_for_layers(tmp_path, 2, process)
    until(lambda: process.poll() is not None or process.send_signal(signal.SIGINT))
    text, _ = process.communicate()
    assert process.returncode == 130, text
    assert "resumes from the last committed layers" in text
    assert "Traceback" not in text
    assert "failed" not in set(read_study(tmp_path / "out").trials["status"])
    finish(tmp_path, "--evaluators", "0")
    assert_same_rows(reference, tmp_path / "out")


def test_signals_at_other_commands(tmp_path: Path) -> None:
    """A network that takes long to build: SIGTERM ends ``check`` with a word."""
    (tmp_path / "slow_nets.py").write_text(
        "import time\ndef build(num_classes):\n    open('here', 'w').close(); time.sleep(1000)\n"
    )
    text = "name: x\nmodel: {import: 'slow_nets:build'}\ndataset: {name: digits, num_val: 200}\ndrop_bound: 2.0\n"
    (tmp_path / "x.yaml").write_text(text)
    process = subprocess.Popen(
        [sys.executable, "-c", "from raprune.cli import main; main()", "check", "x.yaml"],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip
    until((tmp_path / "here").exists, process)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, said.strip()) == (130, "interrupted")


QUITS = ["import sys\nsys.exit()", "raise KeyboardInterrupt", "import argparse\nargparse.ArgumentParser().parse_args()"]


@pytest.mark.parametrize(("quits", "where"), [(QUITS[0], "import"), (QUITS[1], "build"), (QUITS[2], "build")])
def test_a_network_that_ends_the_process_is_at_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quits: str, where: str
) -> None:
    body = quits.replace("\n", "; ")
    module = quits + "\n" if where == "import" else ""
    inside = body if where == "build" else "pass"
    (tmp_path / "quitting_nets.py").write_text(f"{module}def build(num_classes):\n    {inside}\n")
    text = "name: x\nmodel: {import: 'quitting_nets:build'}\ndataset: {name: digits, num_val: 200}\ndrop_bound: 2.0\n"
    (tmp_path / "x.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "quitting_nets", raising=False)
    found = call("check", "x.yaml")
    assert found.code == 2, found
    line = next(line for line in found.err.splitlines() if "quitting_nets.py:" in line)
    assert "which would end the whole process" in line
    assert "Traceback" not in found.err


def test_a_signal_is_not_taken_for_a_fault() -> None:
    with pytest.raises(Interrupted), quitting_is_a_fault():
        raise Interrupted
    STOP.note()
    try:
        with pytest.raises(Interrupted), quitting_is_a_fault():
            raise KeyboardInterrupt
    finally:
        STOP.forget()


def read_ten_bytes(process: subprocess.Popen[bytes]) -> None:
    assert process.stdout is not None
    os.read(process.stdout.fileno(), 10)
    process.stdout.close()


@pytest.mark.parametrize("reader", ["leaves", pytest.param("full", marks=pytest.mark.slow)])
def test_a_study_goes_on_without_a_reader(small_study: tuple[Path, Path], tmp_path: Path, reader: str) -> None:
    """``| head -1``, and a log on a disk that is full."""
    write_study(begin(small_study[1], tmp_path), SMALL)
    command = ["study", "tiny.yaml", "--out", "out", "--evaluators", "0"]
    with open("/dev/full", "w") as full:
        process = subprocess.Popen(
            [sys.executable, "-c", "from raprune.cli import main; main()", *command],
            cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE,
            stdout=subprocess.PIPE if reader == "leaves" else full,
        )  # fmt: skip
    if reader == "leaves":
        read_ten_bytes(process)
    assert process.stderr is not None
    errors = process.stderr.read().decode()
    assert (process.wait(timeout=PATIENCE_S), errors) == (0, "")
    assert_same_rows(small_study[1], tmp_path / "out")
    assert (tmp_path / "out" / "report" / "index.html").is_file()


def test_a_stream_that_fails_is_dropped(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        stream = lenient(full)
        assert stream.write("x") == 1
        stream.flush()
        print("y" * 100_000, file=stream)
        stream.flush()
        assert stream.name == "/dev/full"


def in_a_thread(work: Callable[[], None]) -> None:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert errors == []


def test_a_study_in_a_thread_leaves_the_signals_alone(small_study: tuple[Path, Path], tmp_path: Path) -> None:
    begin(small_study[1], tmp_path)
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]

    def study() -> None:
        outcome, _ = run_tiny(tmp_path, 0, text=SMALL)
        assert outcome.exit_code == 0

    in_a_thread(study)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before
    study()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before
