"""The memo's files are parts of bounded size: a store takes files as a whole, and gets none again with every entry."""

from __future__ import annotations

from pathlib import Path

import pytest

from raprune.evaluators.memo import Memo, store
from tests.evaluators.test_memo import DONE, key


def test_a_long_file_is_followed_by_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "PART_BYTES", 200)
    keys = [key(mask=bytes([number])) for number in range(5)]
    memo = Memo(tmp_path / "memo", "host-1")
    for each in keys:
        memo.add({each: DONE})
    sizes = {file.name: file.stat().st_size for file in (tmp_path / "memo").iterdir()}
    assert sorted(sizes)[:2] == ["host-1-1.jsonl", "host-1-2.jsonl"]
    assert max(sizes.values()) < 500
    assert Memo(tmp_path / "memo").find(keys, None) == dict.fromkeys(keys, DONE)
