"""Against a real S3 server: rights, buckets, names, large files, a server that dies in the middle."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from raprune.errors import ResultsError, StorageError
from raprune.results import read_study
from raprune.system.store import Driving, claim, given_out, given_results, reading, send, studies_at
from raprune.system.store import remote as remote_module
from raprune.system.store.address import address_of
from raprune.system.store.hooks import publisher_of
from raprune.system.store.mirror import Mirror
from raprune.system.store.remote import Remote
from tests.fuzz.running import call
from tests.launch.runs import Watch, assert_same_rows
from tests.system.store.fakes import content, write
from tests.system.store.weed import BUCKET, FULL, READER, Server, use
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("weed") / "data")
    running.files()
    yield running
    running.stop()


@pytest.fixture
def url(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An address of its own in the bucket; this process may write to it."""
    use(server, FULL, tmp_path / "cache", monkeypatch)
    monkeypatch.setattr(remote_module, "LASTING_S", 0.1)
    monkeypatch.setattr(remote_module, "PAUSES_S", (0.05,))
    return f"s3://{BUCKET}/{tmp_path.name}"


@pytest.mark.slow
def test_names_large_files_and_deletions(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files: dict[str, str | None] = {"manifest.json": "{}", "trials/t/a b+ü=1&%41#.json": "odd", "empty": ""}
    large = "0123456789abcdef" * 2**20  # sent in several parts
    mirror = Mirror(given_out(f"{url}/odd ü=1"))
    write(mirror, {**files, "trials/t/model.safetensors": large, "trials/t/gone": "x"})
    mirror.send("")
    write(mirror, {"trials/t/gone": None})
    mirror.send("trials/t")
    monkeypatch.setenv("RAPRUNE_STORE_CACHE", str(tmp_path / "other machine"))
    other = Mirror(given_out(f"{url}/odd ü=1"))
    other.take()
    assert content(other.root) == {**files, "trials/t/model.safetensors": large}
    assert other.journal.entries() != {}
    taken = other.remote.stamps()
    other.take()
    assert other.remote.stamps() == taken


@pytest.mark.parametrize(
    ("user", "bucket", "why"),
    [
        (FULL, "nowhere", "the bucket nowhere does not exist: create it first"),
        (READER, BUCKET, "cannot be written: permission denied"),
        (("FULL", "HIDDEN"), BUCKET, "permission denied|secret key is wrong"),
        (("NOBODY", "HIDDEN"), BUCKET, "permission denied|access key is unknown"),
    ],
)
def test_a_study_that_cannot_be_stored_does_not_begin(
    user: tuple[str, str],
    bucket: str,
    why: str,
    url: str,
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use(server, user, tmp_path, monkeypatch)
    with pytest.raises(StorageError, match=why) as caught:
        Driving(given_out(url.replace(BUCKET, bucket)), print).__enter__()
    assert "HIDDEN" not in str(caught.value)


def test_a_study_has_the_rows_of_a_local_run(
    url: str, server: Server, small_study: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted on one machine, ended on another, read by a user who may only read."""
    from raprune.launch import run_study
    from raprune.study import load_study

    file, local = small_study
    plan = load_study(file)

    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    assert run_study(plan, given_out(url), Watch(interrupted), num_evaluators=0).interrupted
    monkeypatch.setenv("RAPRUNE_STORE_CACHE", str(tmp_path / "other machine"))
    watch = Watch()
    assert run_study(plan, given_out(url), watch, num_evaluators=0).exit_code == 0
    num_commits = len(read_study(local).layers) + len(read_study(local).joint)
    assert watch.commits < num_commits  # the layer that was committed on the first machine is not decided again
    use(server, READER, tmp_path / "reader", monkeypatch)
    assert_same_rows(local, url)  # type: ignore[arg-type]
    found = read_study(url).manifest
    assert "secret" not in str(found)
    assert studies_at(given_results(url.rpartition("/")[0]))
    with pytest.raises(StorageError, match="permission denied"):
        send(reading(given_results(url)) / "manifest.json")
    answer = call("clean", url, "--memo", "--yes")
    assert (answer.code, "permission denied" in answer.text) == (2, True), answer
    use(server, FULL, tmp_path / "cleaner", monkeypatch)
    memo = [name for name in Mirror(given_results(url)).remote.stamps() if name.startswith("memo/")]
    assert memo
    assert call("clean", url, "--memo", "--mirrors", "--yes").code == 0
    assert not Mirror(given_results(url)).remote.stamps("memo")
    assert not given_results(url).exists()
    assert_same_rows(local, url)  # type: ignore[arg-type]


@pytest.mark.slow
def test_killed_in_the_middle_and_continued_on_another_machine(
    url: str, small_study: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from raprune.launch import run_study
    from raprune.study import load_study

    file, local = small_study
    code = "from raprune.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "study", str(file), "--out", url],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    store = Remote(address_of(given_out(url)))
    until(lambda: any("/layers-" in name for name in store.stamps()), process)
    process.kill()
    process.wait()
    monkeypatch.setenv("RAPRUNE_STORE_CACHE", str(tmp_path / "other machine"))
    plan, watch = load_study(file), Watch()
    with pytest.raises(ResultsError, match=rf"in use by process {process.pid} on .*if it was killed, try again in"):
        run_study(plan, given_out(url), watch, num_evaluators=0)
    monkeypatch.setattr(claim, "STALE_S", -1)
    assert run_study(plan, given_out(url), watch, num_evaluators=0).exit_code == 0
    assert watch.commits < len(read_study(local).layers) + len(read_study(local).joint)
    assert_same_rows(local, url)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_server_that_dies_and_comes_back(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = Server(tmp_path / "own")
    own.files()
    use(own, FULL, tmp_path / "cache", monkeypatch)
    told: list[str] = []
    try:
        with Driving(given_out(url), told.append):
            mirror = publisher_of(given_out(url)).mirror
            own.stop()
            write(mirror, {"trials/t/layers-0.parquet": "0" * 10**6})
            publisher_of(mirror.root).note("")
            until(lambda: len(told) >= 2)
            own.start()
        assert "trying again" in told[1]
        monkeypatch.setenv("RAPRUNE_STORE_CACHE", str(tmp_path / "other machine"))
        other = Mirror(given_out(url))
        other.take()
        assert content(other.root) == {"trials/t/layers-0.parquet": "0" * 10**6}
    finally:
        own.stop()
