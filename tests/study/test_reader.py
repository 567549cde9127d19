"""YAML to plain data with places: what is read, what is refused, and where."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from raprune.errors import Problem, StudyError
from raprune.study import load_study
from raprune.study.reader import MAX_BYTES, UNREADABLE, child, dump, parse_scalar, read_document

from .texts import GOOD, parse

QUICKSTART = Path(__file__).resolve().parents[2] / "studies" / "quickstart.yaml"


def refusals(text: str) -> str:
    """All that the reader says of a text, whether or not it can go on."""
    try:
        found = parse(text).problems
    except StudyError as error:
        found = error.problems
    return "\n".join(map(str, found))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3), ("-4", -4), ("1_000", 1000), ("0", 0), ("2.5", 2.5), (".5", 0.5), ("1e-3", 1e-3), ("1E+2", 100.0),
        ("1.5e3", 1500.0), ("'1e-3'", "1e-3"), ("true", True), ("no", False), ("abc", "abc"), ("'3'", "3"),
        ("[1, a]", [1, "a"]), ("{a: {b: 1}}", {"a": {"b": 1}}), ("[]", []), ("nan", "nan"), ("größe", "größe"),
    ],
)  # fmt: skip
def test_plain_values(text: str, value: Any) -> None:
    found = parse(f"key: {text}")
    assert found.problems == []
    assert found.data == {"key": value}
    assert type(found.data["key"]) is type(value)


def test_every_value_has_its_line() -> None:
    document = parse("a: 1\nb:\n  - 2\n  - c: 3\n    d.e: [4,\n      5]\n")
    assert document.places["a"] == "s.yaml:1"
    assert document.places["b[0]"] == "s.yaml:3"
    assert document.places["b[1].c"] == "s.yaml:4"
    assert document.places["b[1].d.e[1]"] == "s.yaml:6"
    assert document.where("b[1].c.unknown[3]") == "s.yaml:4"
    assert document.where("nothing") == "s.yaml:1"


def test_odd_keys_are_quoted_in_paths() -> None:
    assert child("sweep", "finetune.epochs") == "sweep.finetune.epochs"
    assert child("sweep", 3) == "sweep[3]"
    assert child("", "a\nb") == r"'a\nb'"


@pytest.mark.parametrize(
    ("text", "fragments"),
    [
        ("", ["s.yaml: is empty; `raprune init` writes"]),
        ("# only a comment\n", ["s.yaml: is empty"]),
        ("- a\n- b\n", ["s.yaml:1: must be a mapping"]),
        ("hello\n", ["s.yaml:1: must be a mapping"]),
        ("a: 1\n---\nb: 2\n", ["s.yaml:2: is not YAML", "single document"]),
        ("a: 1\n\tb: 2\n", ["s.yaml:2: is not YAML"]),
        ("a: [1\nb: 2\n", ["s.yaml:2: is not YAML"]),
        ("a: b: c\n", ["s.yaml:1: is not YAML"]),
        ("a: *nowhere\n", ["s.yaml:1: is not YAML", "undefined alias 'nowhere'"]),
        ("a: 1\nb: x\0y\n", ["s.yaml:2: contains a character", r"'\x00'"]),
        ("%YAML 9.9\n---\na: 1\n", ["s.yaml:1: is not YAML", "version"]),
        ("a: 1\nb: 2\na: 3\n", ["s.yaml:3: a: is given twice; first on line 1"]),
        ("a: {b: 1,\n  b: 2}\n", ["s.yaml:2: a.b: is given twice; first on line 1"]),
        ("a:\n", ["s.yaml:1: a: has no value (null)", "omit the key"]),
        ("a: [1, ~]\n", ["s.yaml:1: a[1]: has no value (null)"]),
        ("a: .nan\n", ["a: must be a finite number; got '.nan'"]),
        ("a: -.INF\n", ["a: must be a finite number; got '-.INF'"]),
        ("a: 1e400\n", ["a: must be a finite number; got '1e400'"]),
        ("a: 1.0e+400\n", ["a: must be a finite number"]),
        ("a: " + "9" * 5000, ["a: must be a 64-bit integer", "5,002 characters"]),
        ("a: 9223372036854775808\n", ["a: must be a 64-bit integer, at most 9223372036854775807"]),
        ("a: 017\n", ["a: must be a plain decimal number", "octal", "got '017'"]),
        ("a: 0x1F\n", ["a: must be a plain decimal number", "hexadecimal", "got '0x1F'"]),
        ("a: 0b11\n", ["a: must be a plain decimal number", "binary"]),
        ("a: 1:30\n", ["a: must be a plain decimal number", "base 60", "got '1:30'"]),
        ("a: 1:30.5\n", ["a: must be a plain decimal number", "base 60"]),
        ("a: 2001-01-01\n", ["a: must be text, a number, true or false; got timestamp '2001-01-01'"]),
        ("a: =\n", ["a: must be text"]),
        ("a: !!python/object/apply:os.system [id]\n", ["a: must have no YAML tag", "!!python/object/apply:os.system"]),
        ("a: !!str 3\n", ["a: must have no YAML tag; got '!!str'"]),
        ("a: !mine {b: 1}\n", ["a: must have no YAML tag; got '!mine'"]),
        ("a: !!binary aGk=\n", ["a: must have no YAML tag"]),
        ("a: {!!str b: 1}\n", ["a: a key must be text"]),
        ("1: a\n", ["s.yaml:1: a key must be text; got int '1'; did you mean '1', in quotes?"]),
        ("on: a\n", ["a key must be text; got bool 'on'; did you mean 'on', in quotes?"]),
        ("null: a\n", ["a key must be text"]),
        ("[a]: 1\n", ["a key must be text; got a list or a mapping"]),
        ("b: &b {c: 1}\na: {<<: *b}\n", ["s.yaml:2: a: must not have '<<' merges"]),
        ("a: &a {b: *a}\n", ["s.yaml:1: a.b: is an alias of something that contains it"]),
        ("a: &a [*a]\n", ["a[0]: is an alias of something that contains it"]),
        ("a: " + "[" * 500 + "]" * 500, ["s.yaml:1: is nested more than 20 levels deep"]),
        ("[" * 100_000, ["s.yaml:1: is nested more than 20 levels deep"]),
        ("{a: " * 100_000, ["s.yaml:1: is nested more than 20 levels deep"]),
        ("a: [" + "1, " * 40_000 + "]", ["s.yaml:1: has more than 10,000 values"]),
    ],
)  # fmt: skip
def test_what_a_study_file_may_not_hold(text: str, fragments: list[str]) -> None:
    said = refusals(text)
    for fragment in fragments:
        assert fragment in said


def test_an_alias_bomb_does_not_go_off() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    said = refusals("\n".join(lines))
    assert "expands to more than 10,000 values, aliases included" in said


def test_plain_aliases_are_fine() -> None:
    document = parse("a: &e {epochs: 1}\nb: *e\n")
    assert document.data == {"a": {"epochs": 1}, "b": {"epochs": 1}}
    assert document.problems == []


def test_all_problems_of_form_at_once_and_the_rest_is_kept() -> None:
    document = parse("a: ~\nb: .nan\nc: 1\nc: 2\nd: !x 1\ne: [1, 0x2]\n")
    assert [p.path for p in document.problems] == ["a", "b", "c", "d", "e[1]"]
    assert document.data == {"a": UNREADABLE, "b": UNREADABLE, "c": 1, "d": UNREADABLE, "e": [1, UNREADABLE]}


@pytest.mark.parametrize(
    ("content", "fragment"),
    [
        (b"name: \xff\xfe\n", "s.yaml:1: is not UTF-8 text (byte 6)"),
        (b"a: 1\nname: \xe4\n", "s.yaml:2: is not UTF-8 text"),
        ("name: x\n".encode("utf-16"), "is not UTF-8 text"),
        (b"# " + b"x" * MAX_BYTES, "is longer than the 1,000,000 bytes"),
    ],
)
def test_files_that_are_no_text(tmp_path: Path, content: bytes, fragment: str) -> None:
    file = tmp_path / "s.yaml"
    file.write_bytes(content)
    with pytest.raises(StudyError) as caught:
        read_document(file)
    assert fragment in str(caught.value)


@pytest.mark.parametrize("name", ["nothing.yaml", "."])
def test_files_that_are_no_files(tmp_path: Path, name: str) -> None:
    with pytest.raises(StudyError, match=r"cannot be read: (no such file|it is a folder)"):
        read_document(tmp_path / name)


def test_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert read_document(file).data == parse(GOOD).data


def test_dump_reads_back_as_the_same_document() -> None:
    text = "a: '1e-3'\nb: 1e-3\nc: '3'\nd: 'true'\ne: [1.0, 2, größe, 'null', '017']\nf: {g: \"x\\ny\"}\n"
    document = parse(text)
    assert document.problems == []
    assert parse(dump(document)).data == document.data


@pytest.mark.parametrize(
    ("text", "value"), [("3", 3), ("[1, 2]", [1, 2]), ("{a: b}", {"a": "b"}), ("1e-3", 1e-3), ("", ""), ("x y", "x y")]
)
def test_values_of_set(text: str, value: Any) -> None:
    assert parse_scalar(text, "key")[0] == value


@pytest.mark.parametrize("text", ["null", ".nan", "{a: 1", "3\nb: 4", "!!int 3", "*a", "[1, ~]"])
def test_nonsense_of_set(text: str) -> None:
    with pytest.raises(StudyError):
        parse_scalar(text, "key")


def outcome(file: Path) -> list[Problem]:
    """The problems of a study file; any other error than ours gets through."""
    try:
        load_study(file)
    except StudyError as error:
        return error.problems
    return []


def test_spoilt_studies_never_end_in_a_traceback(tmp_path: Path) -> None:
    """A few hundred random edits of a real study: each loads or is refused with places."""
    source, draw, refused = QUICKSTART.read_text(), random.Random(0), 0
    bits = [
        "[",
        "]",
        "{",
        "}",
        ": ",
        "\n",
        "- ",
        "null",
        ".nan",
        "&a ",
        "*a",
        "!!x ",
        "'",
        '"',
        "0x1",
        "  ",
        "é",
        "\t",
        "1e999",
    ]
    file = tmp_path / "s.yaml"
    for _ in range(150):
        text = source
        for _ in range(draw.randint(1, 3)):
            at = draw.randrange(len(text))
            text = text[:at] + draw.choice(bits) + text[at + draw.randint(0, 6) :]
        file.write_text(text)
        found = outcome(file)
        refused += bool(found)
        assert all(problem.where.startswith(str(file)) for problem in found)
    assert refused > 50
