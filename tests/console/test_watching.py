"""A study watched from its folder alone: while it runs, when it has ended, and when it was killed."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import re
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest
from rich.console import Console

from raprune.cli.terminal import open_console
from raprune.console import watching
from raprune.console.progress import StudyProgress
from raprune.console.snapshot import FILE, Seen, look
from raprune.console.trials import TrialProgress
from raprune.console.web import PAGE, WatchServer
from raprune.errors import RapruneError
from raprune.results import SCHEMA_VERSION, FolderLock, write_json
from tests.waiting import PATIENCE_S, until

HOSTILE = "<img src=x onerror=alert(1)>\x1b[2J"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A study of three trials, begun."""
    axes = {name: {"method": name, "drop_bound": "2.0"} for name in "abc"}
    command = ["/usr/bin/raprune", "study", "a b.yaml"]
    write_json(
        tmp_path / "manifest.json",
        {"schema_version": SCHEMA_VERSION, "study": "s", "trial_ids": list("abc"), "axes": axes, "command": command},
    )
    return tmp_path


def progress(folder: Path, console: Console | None = None, label: str = "agent") -> StudyProgress:
    trials = {name: TrialProgress(f"{label} {name}", 10, 13) for name in "abc"}
    return StudyProgress(console or Console(quiet=True), trials, out=folder, study="s")


def run(study: StudyProgress) -> None:
    """The first trial ends, the second one runs."""
    study.evaluators("2 evaluators (cpu) on this machine")
    study.phase("")
    news = {"layer": "conv3", "num_layers": 13, "prune_step": 3, "pruning_ratio": 0.5, "val_score_drop": 1.25}
    for name in "ab":
        study.told(name, news | {"searched_s": 1.0, "committed_s": 1.0, "new_candidates": 7})
    study.ended("a", "completed", Path("x"))


def shown(folder: Path, width: int = 100) -> str:
    console = open_console(width=width)
    with console.capture() as said:
        watching.once(folder, console)
    text: str = said.get()
    return text


def test_a_study_that_runs_is_seen_from_its_folder(folder: Path) -> None:
    with FolderLock(folder), progress(folder) as study:
        run(study)
        assert look(folder).state() == "running"
        lines = shown(folder).splitlines()
        assert lines[0] == "completed: agent a: 50.0% of filters pruned, drop +1.2 points"
        assert re.match(r"s  0:00  1 of 3 trials  \S+ candidates/s", lines[1])
        assert "2 evaluators (cpu) on this machine" in lines
        assert re.search(r"^agent b +conv3 +4/13 +50\.0% +\+1\.2", lines[-1])
        assert len(shown(folder, 60).splitlines()[-1]) <= 60
        before = (folder / FILE).read_text()
        study.told("b", {"layer": "conv4"})  # within a second
        assert (folder / FILE).read_text() == before


def test_a_study_in_which_nothing_happens_is_seen_to_live(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for machines; another machine, which does not see its lock, goes by the age of the file."""
    monkeypatch.setattr("raprune.console.progress.BEAT_S", 0.01)
    with progress(folder) as study:
        time.sleep(0.05)
        assert not (folder / FILE).exists()  # by now another process may hold the folder
        study.evaluators("waiting for 1 evaluator (cpu)")
        first = look(folder).snapshot
        until(lambda: look(folder).snapshot.updated != first.updated)
        assert look(folder).snapshot.evaluators == first.evaluators
    assert look(folder).snapshot.over


def test_a_study_that_was_killed_says_how_to_continue(folder: Path) -> None:
    study = progress(folder)
    run(study)
    assert look(folder).state() == "not running"
    text = " ".join(shown(folder, 200).split())
    assert "s: not running since 20" in text
    assert text.endswith(
        "(1 completed, 2 not ended); to continue from the last committed layers: raprune study 'a b.yaml'"
    )


def test_an_ended_study_says_so(folder: Path) -> None:
    with progress(folder) as study:
        run(study)
        study.ended("b", "failed", Path("x"))
        study.ended("c", "completed", Path("x"))
    assert look(folder).snapshot.over
    assert shown(folder).splitlines()[-1] == "s: ended, 2 completed, 1 failed"


def test_watching_ends_with_the_study(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, out = FolderLock(folder).__enter__(), io.StringIO()
    study = progress(folder)
    run(study)

    def sleep(seconds: float) -> None:
        study.ended("b", "completed", Path("x"))
        study.ended("c", "completed", Path("x"))
        lock.__exit__(None, None, None)

    monkeypatch.setattr(watching.time, "sleep", sleep)
    watching.watch(folder, Console(file=out, width=100))
    assert "1 of 3 trials" in out.getvalue().splitlines()[0]
    assert out.getvalue().splitlines()[-1] == "s: ended, 3 completed"
    assert "\x1b" not in out.getvalue()


def test_without_the_file_the_tables_are_shown(folder: Path) -> None:
    (folder / "trials" / "b").mkdir(parents=True)
    (folder / "trials" / "b" / "layers-0.parquet").touch()
    assert [t.status for t in look(folder).snapshot.trials] == ["waiting", "running", "waiting"]
    assert look(folder).snapshot.trials[1].label == "b, drop_bound 2.0"


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"trials": [1]}', '{"trials": [], "updated": "x"}'])
def test_a_damaged_file_is_named_and_the_tables_are_shown(folder: Path, text: str) -> None:
    (folder / FILE).write_text(text)
    seen = look(folder)
    assert [t.trial_id for t in seen.snapshot.trials] == list("abc")
    assert str(folder / FILE) in seen.note
    assert "the tables are shown instead" in " ".join(shown(folder, 300).split())


def test_what_is_no_study_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(RapruneError, match=r"contains no study \(no manifest.json\)"):
        look(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(RapruneError, match=r"manifest.json is damaged"):
        look(tmp_path)


def test_a_folder_that_cannot_be_written_to_costs_nothing(folder: Path) -> None:
    (folder / FILE).mkdir()  # even root cannot replace a folder by a file
    with progress(folder) as study:
        run(study)
    assert "is damaged: it is a folder" in look(folder).note


def test_looking_keeps_no_study_out(folder: Path) -> None:
    with FolderLock(folder):
        assert FolderLock(folder).is_held()
    assert not FolderLock(folder).is_held()
    (folder / ".lock").write_text("process 7 on elsewhere")
    assert FolderLock(folder).is_of_another_machine()
    progress(folder).phase("x")
    assert look(folder).runs  # its lock does not show here, but it writes
    os.utime(folder / FILE, (0, 0))
    assert not look(folder).runs


def terminal(folder: Path, environ: dict[str, str]) -> str:
    """What a study of 60 columns writes to a terminal, ended by Ctrl-C."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as file:
        console = Console(file=file, width=60, height=20, _environ={"TERM": "xterm", **environ})
        study = progress(folder, console, "a label that is far too long for it")
        with contextlib.suppress(KeyboardInterrupt), study:
            run(study)
            raise KeyboardInterrupt
        file.flush()
        said = os.read(ours, 100_000).decode()
    os.close(ours)
    return said


def test_a_terminal_is_left_as_it_was(folder: Path) -> None:
    said = terminal(folder, {})
    assert said.index("\x1b[?25l") < said.rindex("\x1b[?25h")  # the cursor is hidden, then shown
    assert said.endswith("\x1b[2K")  # the view is erased
    plain = re.sub(r"\x1b\[[?\d;]*[a-zA-Z]", "", said)
    assert all(len(line) <= 60 for line in plain.replace("\r", "\n").splitlines() if "completed" not in line)
    assert "completed: a label" in plain
    assert "\x1b[32m" in said
    assert "\x1b[32m" not in terminal(folder, {"NO_COLOR": "1"})
    assert "\x1b" not in terminal(folder, {"TERM": "dumb"})


@pytest.fixture
def server(folder: Path) -> Iterator[WatchServer]:
    with progress(folder, label=HOSTILE) as study:
        run(study)
    with WatchServer(folder) as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def asked(server: WatchServer, path: str, host: str) -> tuple[int, bytes]:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_S)
    connection.putrequest("GET", path, skip_host=True)
    connection.putheader("Host", host)
    connection.endheaders()
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_the_page_is_for_this_machine_only(server: WatchServer) -> None:
    here = f"127.0.0.1:{server.port}"
    assert server.server_address[0] == "127.0.0.1"
    assert asked(server, "/", here)[0] == asked(server, "/snapshot.json", f"localhost:{server.port}")[0] == 200
    for host in ("evil.example", f"evil.example:{server.port}", "127.0.0.1", ""):
        code, body = asked(server, "/snapshot.json", host)
        assert (code, b"agent" in body) == (403, False)
    assert asked(server, "/../manifest.json", here)[0] == 404


def test_the_page_shows_names_as_text_and_asks_nobody_else(server: WatchServer) -> None:
    with urllib.request.urlopen(server.address + "snapshot.json") as answer:
        found = json.load(answer)
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert found["ended"][0]["label"] == f"{HOSTILE} a"
    assert found["state"] == "not running"
    page = PAGE.read_text(encoding="utf-8")
    assert "innerHTML" not in page
    assert not re.findall(r"https?:|//[a-z]", page)
    (server.folder / "manifest.json").unlink()
    with urllib.request.urlopen(server.address + "snapshot.json") as answer:
        assert json.load(answer)["state"] == "unreadable"


def test_hostile_names_do_not_steer_the_terminal(folder: Path) -> None:
    with progress(folder, label=HOSTILE) as study:
        run(study)
    assert "\x1b" not in shown(folder)
    assert r"\x1b[2J" in shown(folder)


def test_a_thousand_trials_fit_into_a_view(folder: Path) -> None:
    trials = {str(n): TrialProgress(f"t{n}", 10, 3, status="running" if n % 2 else "completed") for n in range(1000)}
    snapshot = StudyProgress(Console(quiet=True), trials, study="s").snapshot()
    console = Console(width=60, height=25, force_terminal=True)
    with console.capture() as said:
        console.print(watching.watched(Seen(snapshot=snapshot, runs=True), console))
    assert len(said.get().splitlines()) <= console.height
    assert "and 492 more" in said.get()
