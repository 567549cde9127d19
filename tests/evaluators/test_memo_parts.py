"""The memo's files are parts of bounded size: a store takes files as a whole, and gets none again with every entry."""

from __future__ import annotations

from collections.abc import Container, Iterator
from pathlib import Path

import pytest

from raprune.evaluators.memo import Memo, lines, store
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


def test_every_file_is_read_once_whatever_layers_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines of several layers lie between each other in the files of several writers, some close, some far apart."""
    monkeypatch.setattr(lines, "GAP_BYTES", 400)
    layers = [f"layer{n}" for n in range(7)]
    asked = {layer: [key(layer=layer, mask=bytes([1, n])) for n in range(40)] for layer in layers}
    writers = [Memo(tmp_path, name) for name in "ab"]
    for n in range(40):
        for at, layer in enumerate(layers):
            if (n + at) % 3:
                writers[(n // 7 + at) % 2].add({asked[layer][n]: DONE})
    read: list[str] = []
    new_of = lines.Lines._new_of

    def counted(self: lines.Lines, name: str, wanted: Container[bytes]) -> Iterator[tuple[bytes, bytes]]:
        read.append(name)
        return new_of(self, name, wanted)

    monkeypatch.setattr(lines.Lines, "_new_of", counted)
    memo = Memo(tmp_path)
    for at, layer in [*enumerate(layers), *enumerate(layers)]:
        expected = {k for n, k in enumerate(asked[layer]) if (n + at) % 3}
        assert set(memo.find(asked[layer], None)) == expected
    assert sorted(read) == ["a.jsonl", "b.jsonl"]
    late = key(layer=layers[0], mask=b"\1\1\1")
    writers[0].add({late: DONE})
    assert set(memo.find([late], None)) | set(Memo(tmp_path).find([late], None)) == {late}
    fresh = key(layer="another", mask=b"\1")
    writers[1].add({fresh: DONE})
    assert memo.find([fresh], None) == {fresh: DONE}  # at once: it is asked for the first time
    assert memo.find([late], None) == {late: DONE}  # what was read for one is known for all that are held
