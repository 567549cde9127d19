"""Addresses of results: what is taken, what is refused, and the folder that mirrors each."""

from __future__ import annotations

from pathlib import Path

import pytest

from raprune.errors import InputError
from raprune.system.store import given_out, given_results, shown
from raprune.system.store.address import address_of, is_own, parsed, root_of

PLAIN = (
    "s3://bucket/study",
    "s3://bucket/a b/ü=1/100%/x+y&z#1",
    "s3://bucket/study?endpoint_override=localhost:9000&scheme=http",
    "gs://bucket/study",
    "abfss://container@account.dfs.core.windows.net/study",
    "file:///srv/results/<study>",
)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAPRUNE_STORE_CACHE", str(tmp_path))


@pytest.mark.parametrize("text", PLAIN)
def test_the_path_of_a_mirror_says_what_it_mirrors(text: str, tmp_path: Path) -> None:
    place = given_out(text)
    assert place.parent == tmp_path / "raprune-stores" / "own"
    assert root_of(place / "trials" / "t" / "trial.parquet") == place
    assert str(address_of(place)) == text == shown(place)
    assert is_own(place)
    assert not is_own(given_results(text))
    assert not place.exists()


def test_a_trials_address_is_a_folder_in_its_studys_mirror() -> None:
    study, trial = given_results("s3://b/s?region=x"), given_results("s3://b/s/trials/t1?region=x")
    assert trial == study / "trials" / "t1"
    assert shown(trial) == "s3://b/s/trials/t1?region=x"


def test_google_is_not_waited_for_a_quarter_of_an_hour() -> None:
    assert parsed("gs://bucket/study").uri == "gs://bucket/study?retry_limit_seconds=10"
    assert parsed("gs://bucket/study?retry_limit_seconds=60").uri == "gs://bucket/study?retry_limit_seconds=60"


@pytest.mark.parametrize("path", ["results/x", "/srv/raprune-stores/x", "raprune-stores"])
def test_other_folders_are_no_mirrors(path: str) -> None:
    assert root_of(Path(path)) is None
    assert given_out(path) == Path(path)
    assert shown(Path(path)) == path


@pytest.mark.parametrize(
    "text",
    [
        "s3://AKID:HIDDEN@bucket/study",
        "s3://HIDDEN@bucket/study",
        "abfss://container:HIDDEN@account.dfs.core.windows.net/study",
        "s3://bucket/study?secret_key=HIDDEN",
        "s3://bucket/study?session_token=HIDDEN",
        "abfs://c@a/study?sas_token=HIDDEN",
    ],
)
def test_credentials_are_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(InputError, match=r"--out: the address contains .*AWS_ACCESS_KEY_ID") as caught:
        given_out(text, "--out")
    assert "HIDDEN" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("ftp://host/study", "ftp:// is not an address to which results can be written; known are s3://"),
        ("https://host/study", "known are s3://"),
        ("s3://", "must be followed by a bucket"),
        ("s3:///", "must be followed by a bucket"),
        ("s3://bucket/../other", "begin with a dot"),
        ("s3://bucket/.hidden", "begin with a dot"),
        ("s3://bucket//study", "no part of the path may be empty"),
        ("s3://bucket/a\nb", "control characters"),
        ("s3://bucket/" + "x" * 250, "is too long"),
    ],
)
def test_what_is_no_address_of_results_is_refused(text: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        given_results(text)
