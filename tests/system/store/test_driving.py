"""The process that runs a study: its claim, and a store that goes away and comes back."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import pytest

from raprune.errors import ResultsError, StorageError
from raprune.system.quitting import STOP
from raprune.system.store import Driving, bring, deliver, held_elsewhere, publish, publish_later, reading, seen
from raprune.system.store import driving as driving_module
from raprune.system.store import publisher as publisher_module
from raprune.system.store import remote as remote_module
from raprune.system.store.claim import CLAIMS, STALE_S, Claim
from raprune.system.store.hooks import publisher_of
from raprune.system.store.mirror import Mirror
from tests.system.store.fakes import content, machine, read_mirror, write
from tests.waiting import PATIENCE_S, until


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher_module, "PAUSES_S", (0.01,))
    monkeypatch.setattr(remote_module, "PAUSES_S", (0.01,))
    STOP.forget()


def claims(tmp_path: Path) -> list[str]:
    folder = tmp_path / "store" / CLAIMS
    return sorted(file.name for file in folder.iterdir()) if folder.is_dir() else []


def test_a_drive_takes_everything_sends_everything_and_leaves_no_claim(tmp_path: Path) -> None:
    b = machine("b", tmp_path)
    write(b, {"manifest.json": "{}", "trials/t/layers-0.parquet": "0"})
    b.send("")
    a, told = machine("a", tmp_path), []
    with Driving(a.root, told.append):
        assert content(a.root) == content(b.root)
        assert len(claims(tmp_path)) == 1
        write(a, {"trials/t/layers-1.parquet": "1"})
        publish(a.root / "trials" / "t")
        deliver(a.root)
        assert (tmp_path / "store/trials/t/layers-1.parquet").read_text() == "1"
        write(a, {"time.json": "never published by hand"})
    assert content(tmp_path / "store") == content(a.root)
    assert claims(tmp_path) == []
    assert str(a.root) in told[0]


def test_two_machines_are_kept_off_one_study(tmp_path: Path) -> None:
    a, b = machine("a", tmp_path), machine("b", tmp_path)
    with Driving(a.root, print):
        with pytest.raises(ResultsError, match=rf"in use by process {os.getpid()} on .*--out; if it was killed, try"):
            Driving(b.root, print).__enter__()
        assert len(claims(tmp_path)) == 1
        with Driving(a.root, print):  # this machine's own claim: its folder lock says that the other one died
            pass
    with Driving(b.root, print):
        pass


def test_a_claim_without_a_sign_of_life_ends(tmp_path: Path) -> None:
    a, b = machine("a", tmp_path), machine("b", tmp_path)
    Claim(a.root, a.remote).take()
    (file,) = (tmp_path / "store" / CLAIMS).iterdir()
    old = time.time() - STALE_S - 2
    os.utime(file, (old, old))
    with Driving(b.root, print):
        assert len(claims(tmp_path)) == 1
        assert file.name not in claims(tmp_path)


def test_a_driver_that_was_suspended_does_not_go_on_over_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    awake, beat = threading.Event(), Claim.beat
    monkeypatch.setattr(driving_module, "BEAT_S", 0.02)
    monkeypatch.setattr(Claim, "beat", lambda claim: awake.wait(PATIENCE_S) and beat(claim))
    a, b = machine("a", tmp_path), machine("b", tmp_path)
    with Driving(a.root, print) as drive:
        assert held_elsewhere(a.root) is None
        drive._claim._beaten -= STALE_S  # as if it had been suspended for so long
        (file,) = (tmp_path / "store" / CLAIMS).iterdir()
        file.unlink()
        other = Claim(b.root, b.remote)
        other.take()
        awake.set()
        until(lambda: held_elsewhere(a.root) is not None)
        assert "in use by process" in str(held_elsewhere(a.root))
        write(a, {"trials/t/trial.parquet": "after the other took over"})
        publish(a.root)
        deliver(a.root)
    assert content(tmp_path / "store") == {}
    assert claims(tmp_path) == [other.name]


class Away:
    """A store that cannot be reached while ``is_away``."""

    def __init__(self, mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_away = False
        write = mirror.remote._write

        def writes(path: str, data: object) -> None:
            if self.is_away:
                raise OSError("AWS Error NETWORK_CONNECTION during PutObject operation: curlCode: 7, Could not connect")
            write(path, data)  # type: ignore[arg-type]

        monkeypatch.setattr(mirror.remote, "_write", writes)


def test_a_store_that_is_away_for_a_while_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, told = machine("a", tmp_path), []
    with Driving(a.root, told.append):
        away = Away(publisher_of(a.root).mirror, monkeypatch)
        away.is_away = True
        write(a, {"trials/t/layers-0.parquet": "0"})
        publish(a.root / "trials/t")
        until(lambda: len(told) >= 2)
        write(a, {"trials/t/layers-1.parquet": "1"})
        away.is_away = False
    assert "cannot be written: Could not connect: trying again; the study goes on" in told[1]
    assert str(a.root) in told[1]
    assert told[2].endswith(": sending again")
    assert content(tmp_path / "store") == content(a.root)


def test_a_store_that_stays_away_ends_the_run_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_module, "PATIENCE_S", 0.3)
    a = machine("a", tmp_path)
    drive = Driving(a.root, print)
    drive.__enter__()
    away = Away(publisher_of(a.root).mirror, monkeypatch)
    away.is_away = True
    write(a, {"trials/t/layers-0.parquet": "0"})
    with pytest.raises(StorageError, match=r"Could not connect\. Nothing is lost: everything is in .*sends it"):
        drive.__exit__(None, None, None)
    assert content(tmp_path / "store") == {}
    away.is_away = False
    with Driving(a.root, print):
        pass
    assert content(tmp_path / "store") == content(a.root) == {"trials/t/layers-0.parquet": "0"}


def test_what_no_error_foresees_is_told_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_module, "PATIENCE_S", 0.1)
    a = machine("a", tmp_path)

    def breaks(below: str) -> None:
        raise ZeroDivisionError(below or "all")

    monkeypatch.setattr(publisher_of(a.root).mirror, "send", breaks)
    publish(a.root)
    with pytest.raises(StorageError, match="all"):
        deliver(a.root)


def test_what_grows_is_sent_later_but_before_the_end(tmp_path: Path) -> None:
    a = machine("a", tmp_path)
    write(a, {"memo/x.jsonl": "1\n"})
    publish_later(a.root / "memo" / "x.jsonl")
    time.sleep(0.1)
    assert not (tmp_path / "store").exists()
    deliver(a.root)
    assert content(tmp_path / "store") == {"memo/x.jsonl": "1\n"}


def test_a_trial_elsewhere_takes_what_it_needs(tmp_path: Path) -> None:
    a, b = machine("a", tmp_path), machine("b", tmp_path)
    write(a, {"manifest.json": "{}", "trials/t/one": "1", "trials/u/two": "2", "baselines/k/baseline.json": "{}"})
    a.send("")
    bring(b.root, [".", "trials/t", "baselines/k", "memo"])
    assert set(content(b.root)) == {"manifest.json", "trials/t/one", "baselines/k/baseline.json"}


def test_a_reader_sees_who_runs_it_and_changes_nothing(tmp_path: Path) -> None:
    a = machine("a", tmp_path)
    with Driving(a.root, print):
        write(a, {"manifest.json": "{}", "trials/t/model/model.safetensors": "large", "memo/x.jsonl": "1"})
        publish(a.root)
        deliver(a.root)
        place = read_mirror(tmp_path)
        assert reading(place, lambda name: not name.endswith(".safetensors")) == place
        assert content(place) == {"manifest.json": "{}", "memo/x.jsonl": "1"}
        found = seen(place)
        assert found is not None
        assert found["holder"] == f"process {os.getpid()} on {os.uname().nodename}"
        assert found["num_bytes"] == 8
        (place / "manifest.json").write_text(json.dumps("scribbled"))
        publish(place)
        deliver(place)
    reading(place)
    assert seen(place) == found | {"holder": None}
    assert (tmp_path / "store" / "manifest.json").read_text() == "{}"
    assert seen(a.root) is None


def test_watching_outlasts_a_store_that_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, place = machine("a", tmp_path), read_mirror(tmp_path)
    write(a, {"manifest.json": "{}"})
    a.send("")
    reading(place)

    def away(self: object) -> None:
        raise StorageError("away")

    monkeypatch.setattr(remote_module.Remote, "check", away)
    assert reading(place, every_s=1e-9) == place
    with pytest.raises(StorageError, match="away"):
        reading(place)
