"""A mirror and its store: what is sent, what is taken, in which order, and what is left when a machine dies."""

from __future__ import annotations

import os
import re
import resource
from pathlib import Path

import pytest

from raprune.errors import StorageError
from raprune.system.store import remote
from raprune.system.store.journal import FOLDER
from raprune.system.store.mirror import ROOT_FILES
from raprune.system.store.remote import Refused, is_plain
from tests.system.store.fakes import FailingAfter, content, machine, write

T = "trials/t"


def committed(step: int) -> dict[str, str | None]:
    """What a trial's process does to commit a layer: the earlier state goes once the new one is written."""
    return {
        f"{T}/state/{step}.safetensors": f"weights {step}",
        f"{T}/state/{step}.json": f"state {step}",
        f"{T}/candidates-{step}.parquet": f"candidates {step}",
        f"{T}/layers-{step}.parquet": f"layer {step}",
        **({f"{T}/state/{step - 1}.json": None, f"{T}/state/{step - 1}.safetensors": None} if step else {}),
    }


def num_committed(found: dict[str, str]) -> int:
    return next(step for step in range(99) if f"{T}/layers-{step}.parquet" not in found)


@pytest.fixture(autouse=True)
def _one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "NUM_THREADS", 1)  # a death has one place in the order


def test_what_is_sent_from_one_machine_is_taken_by_another(tmp_path: Path) -> None:
    a, b = machine("a", tmp_path), machine("b", tmp_path)
    files = {"manifest.json": "{}", f"{T}/ü =1 & %41.json": "odd", "empty": "", "memo/x.jsonl": "1\n"}
    write(a, files)
    (a.root / ".lock").write_text("never sent")
    (a.root / "link").symlink_to("/etc/passwd")
    a.send("")
    assert content(tmp_path / "store") == files
    b.take()
    assert content(b.root) == files
    times = [(root / "manifest.json").stat().st_mtime for root in (tmp_path / "store", b.root)]
    assert int(times[0]) == int(times[1])


def test_only_what_changed_is_sent_and_taken(tmp_path: Path) -> None:
    a, b = machine("a", tmp_path), machine("b", tmp_path)
    write(a, {"one": "1", f"{T}/two": "2", f"{T}/three": "3"})
    a.send("")
    b.take()
    before = {name: (b.root / name).stat().st_ino for name in content(b.root)}
    write(a, {f"{T}/two": "changed", f"{T}/three": None, "four": "4"})
    seen = FailingAfter(a, 99)
    a.send(T)
    assert seen.changes == [f"put {T}/two", f"delete {T}/three"]
    a.send(ROOT_FILES)
    assert seen.changes[2:] == ["put four"]
    b.take()
    assert content(b.root) == {"one": "1", f"{T}/two": "changed", "four": "4"}
    assert (b.root / "one").stat().st_ino == before["one"]
    a.send("")
    assert len(seen.changes) == 3


def test_who_goes_on_elsewhere_is_right_but_what_was_not_sent_is_kept(tmp_path: Path) -> None:
    """Machine a dies with files that it had not sent; b goes on; then a starts again."""
    a, b = machine("a", tmp_path), machine("b", tmp_path)
    write(a, {f"{T}/trial.parquet": "stopped", f"{T}/gone": "x"})
    a.send("")
    write(a, {f"{T}/layers-4.parquet": "unsent", f"{T}/trial.parquet": "stopped again"})
    b.take()
    write(b, {f"{T}/trial.parquet": "completed by b", f"{T}/gone": None})
    b.send("")
    again = machine("a", tmp_path)
    again.take()
    again.send("")
    wanted = {f"{T}/trial.parquet": "completed by b", f"{T}/layers-4.parquet": "unsent"}
    assert content(again.root) == wanted == content(tmp_path / "store")


def test_a_lost_or_torn_journal_costs_transfers_only(tmp_path: Path) -> None:
    a = machine("a", tmp_path)
    write(a, {"one": "1", "two": "2"})
    a.send("")
    file = a.root / FOLDER / "journal.jsonl"
    file.write_bytes(file.read_bytes()[:-9])
    write(a, {"three": "3"})
    again = machine("a", tmp_path)
    again.take()
    again.send("")
    assert content(again.root) == content(tmp_path / "store") == {"one": "1", "two": "2", "three": "3"}
    file.write_text('["one"]\n[1,2,3]\nnull\n{"x\n')
    again = machine("a", tmp_path)
    again.take()
    again.journal.compact()
    assert len(file.read_text().splitlines()) == 3


@pytest.mark.parametrize("unsent", [1, 3])
def test_wherever_a_machine_dies_another_goes_on_from_a_whole_state(tmp_path: Path, unsent: int) -> None:
    """After any single change to the store, which may be the last, its layers have their state and candidates."""
    died_at = []
    for number in range(40):
        folder = tmp_path / str(number)
        a = machine("a", folder)
        for files in ({"manifest.json": "{}"}, committed(0), committed(1)):
            write(a, files)
        a.send("")
        for step in range(2, 2 + unsent):
            write(a, committed(step))
        if unsent == 3:
            write(a, {f"{T}/model/model.safetensors": "net", f"{T}/model/plan.json": "{}", f"{T}/trial.parquet": "row"})
        dying = FailingAfter(a, number)
        try:
            a.send(T)
        except StorageError:
            died_at.append(dying.changes)
        other = machine("b", folder)
        other.take()
        found = content(other.root)
        layers = num_committed(found)
        assert 2 <= layers <= 2 + unsent
        assert found[f"{T}/state/{layers - 1}.json"] == f"state {layers - 1}"
        assert found[f"{T}/state/{layers - 1}.safetensors"] == f"weights {layers - 1}"
        assert all(f"{T}/candidates-{step}.parquet" in found for step in range(layers))
        if f"{T}/trial.parquet" in found:
            assert layers == 5
            assert {f"{T}/model/plan.json", f"{T}/model/model.safetensors"} < set(found)
        revived = machine("a", folder)  # the dead machine comes back: nothing that it had is lost
        revived.take()
        revived.send("")
        assert content(revived.root) == content(folder / "store")
        assert num_committed(content(folder / "store")) == 2 + unsent
        if not died_at or died_at[-1] != dying.changes:
            break
    assert len(died_at) == {1: 6, 3: 13}[unsent]


def test_a_mirror_that_is_emptied_loses_nothing(tmp_path: Path) -> None:
    """By whoever empties a cache, while the study runs or later."""
    a = machine("a", tmp_path)
    files: dict[str, str | None] = {"manifest.json": "{}", f"{T}/one": "1", f"{T}/two": "2"}
    write(a, files)
    a.send("")
    for name in files:
        (a.root / name).unlink()
    a.send("")
    assert content(tmp_path / "store") == files
    write(a, {f"{T}/three": "3"})
    again = machine("a", tmp_path)
    again.take()
    again.send("")
    assert content(again.root) == content(tmp_path / "store") == {**files, f"{T}/three": "3"}
    write(again, {f"{T}/one": None})
    again.take()  # before the deletion is sent
    again.send("")
    assert f"{T}/one" not in content(tmp_path / "store") | content(again.root)


def test_a_torn_transfer_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = machine("a", tmp_path), machine("b", tmp_path)
    write(a, {"one": "0123456789"})
    whole = a.remote._write
    monkeypatch.setattr(a.remote, "_write", lambda path, data: whole(path, bytes(data)[:4]))
    with pytest.raises(StorageError, match=r"/store/one did not arrive whole"):
        a.send("")
    monkeypatch.undo()
    a.send("")
    b.take()
    assert content(b.root) == {"one": "0123456789"}


def test_two_that_send_the_same_file_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same process id, as in two containers; the second begins and ends while the first writes."""
    one, two = machine("one", tmp_path), machine("two", tmp_path)
    for mirror in (one, two):
        write(mirror, {f"{T}/one": "rows"})
    whole = one.remote._write
    monkeypatch.setattr(one.remote, "_write", lambda path, data: (whole(path, data), two.send("")))
    one.send("")
    assert content(tmp_path / "store") == {f"{T}/one": "rows"}


def test_names_that_no_file_of_ours_has_are_left_alone(tmp_path: Path) -> None:
    for name in (".claims/x.json", ".hidden", "a/.b/c", "fine"):
        file = tmp_path / "store" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    a = machine("a", tmp_path)
    a.take()
    assert content(a.root) == {"fine": "fine"}
    assert [name for name in ("a/../b", "/a", "a//b", "a\nb", "..", "", "x" * 201) if is_plain(name)] == []


def test_a_mirror_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    a, b = machine("a", tmp_path), machine("b", tmp_path)
    write(a, {f"{T}/one": "1"})
    a.send("")
    (b.root / "trials").write_text("a file where a folder must be")
    with pytest.raises(StorageError, match=re.escape(os.fspath(b.root / T))):
        b.take()


def test_a_disk_that_is_full_is_not_taken_for_a_store_that_is_away(tmp_path: Path) -> None:
    """The store would be waited for, and be blamed: a limit on the size of files stands for the full disk."""
    a, b = machine("a", tmp_path), machine("b", tmp_path)
    write(a, {"large": "x" * 2**21})
    a.send("")
    most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, most[1]))
    try:
        with pytest.raises(Refused, match=rf"^{b.root}/large, in a mirror of results, cannot be written: "):
            b.take()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, most)
    assert content(b.root) == {}
    b.take()
    assert content(b.root) == content(a.root)
