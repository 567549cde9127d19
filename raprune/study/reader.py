"""From YAML text to plain data that remembers its lines; what a study file must not contain is refused here.

Refused, each with its line: duplicate keys, tags, null, NaN and infinite numbers, integers that are not plain decimals
of 64 bits, keys that are not text, ``<<`` merges, more than 20 levels of nesting, aliases that expand to more than
10,000 values or contain themselves, an empty file, a file that is not a mapping. What is refused becomes
:data:`UNREADABLE`, so that everything else can still be checked and all problems are reported at once.
"""

from __future__ import annotations

import enum
import math
import re
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from raprune.errors import Problem, StudyError, meaning
from raprune.study.wording import shown, with_value

MAX_DEPTH = 20
MAX_VALUES = 10_000
MAX_BYTES = 1_000_000
MAX_INTEGER = 2**63 - 1
PLAIN_KEY = re.compile(r"[\w.-]+")
INTEGER = re.compile(r"[-+]?(0|[1-9][0-9_]*)")
EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$")
"""Numbers such as ``1e-3``, which YAML 1.1 reads as text."""
YAML_TAG = "tag:yaml.org,2002:"


class Unreadable(enum.Enum):
    """Stands in for a refused value, whose problem has already been reported."""

    VALUE = "unreadable"


UNREADABLE = Unreadable.VALUE


def child(path: str, key: str | int) -> str:
    """The YAML path of ``key`` inside ``path``: ``sweep.drop_bound[0]``."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    name = key if PLAIN_KEY.fullmatch(key) else repr(key)
    return f"{path}.{name}" if path else name


@dataclass(frozen=True)
class Document:
    """A study file as plain data, with the place of every value. What changes it makes another one."""

    name: str
    """What messages call the file."""
    data: dict[str, Any]
    places: dict[str, str] = field(default_factory=dict)
    """YAML path -> ``file:line`` or ``--set``."""
    problems: list[Problem] = field(default_factory=list)
    """What is wrong with the file's form."""
    texts: dict[str, str] = field(default_factory=dict)
    """YAML path of a number, true or false -> how it is written, such as ``0.10``."""

    can_rehearse: bool = False
    """Whether the file has a rehearsal block."""
    rehearses: str | None = None
    """Name of the study that this one rehearses."""

    def commands(self, remedies: Iterable[str]) -> list[str]:
        """The study's command line with each of these arguments, and that of its rehearsal."""
        arguments = list(remedies)
        if arguments and self.can_rehearse:
            arguments.append("--rehearse  # the same layers at small scale, on data that need no download")
        return [f"raprune study {self.name} {remedy}" for remedy in arguments]

    def where(self, path: str) -> str:
        """The place of ``path``, or of the nearest thing around it."""
        while path and path not in self.places:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.places.get(path, self.name)

    def problem(self, path: str, message: str) -> Problem:
        return Problem(self.where(path), path, message)


def read_document(file: Path) -> Document:
    """Read a study file. Raises :class:`StudyError` where no values can be read from it."""
    name = str(file)
    try:
        if stat.S_ISFIFO(file.stat().st_mode) and not name.startswith(("/dev/", "/proc/")):
            raise StudyError([Problem(name, "", "must be a file; it is a pipe, which might never end")])
        with file.open("rb") as opened:
            raw = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise StudyError([Problem(name, "", f"cannot be read: {meaning(error)}")]) from None
    if len(raw) > MAX_BYTES:
        raise StudyError([Problem(name, "", f"is longer than the {MAX_BYTES:,} bytes a study file may have")])
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        where = f"{name}:{raw[: error.start].count(10) + 1}"
        raise StudyError([Problem(where, "", f"is not UTF-8 text (byte {error.start})")]) from None
    return parse_document(text, name)


def parse_document(text: str, name: str) -> Document:
    """Parse a study file's text; ``name`` is what messages call it."""
    try:
        _check_size(text, name)
        loader = _Loader(text)
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        raise StudyError([_syntax_problem(error, name)]) from None
    except yaml.reader.ReaderError as error:
        where = f"{name}:{text.count(chr(10), 0, error.position) + 1}"
        character = chr(error.character) if isinstance(error.character, int) else error.character
        raise StudyError([Problem(where, "", f"contains a character that YAML forbids: {character!r}")]) from None
    if node is None:
        raise StudyError([Problem(name, "", "is empty; `raprune init` writes a first study file")])
    if not isinstance(node, yaml.MappingNode):
        raise StudyError([Problem(_line(name, node), "", "must be a mapping of keys to values at the top level")])
    return _Builder(name, loader.tagged).document(node)


def parse_scalar(text: str, path: str) -> tuple[Any, dict[str, str]]:
    """The value of ``--set path=text``, a YAML scalar or flow sequence or mapping, and its texts by path inside it."""
    document = parse_document(f"value: {text}" if text.strip() else "value: ''", "--set")
    if document.problems:
        raise StudyError(document.problems)
    if set(document.data) != {"value"}:
        raise StudyError([Problem("--set", path, f"must be one value; got {shown(text)}")])
    return document.data["value"], {place.removeprefix("value"): written for place, written in document.texts.items()}


def dump(document: Document) -> str:
    """The document as YAML text, which reads back as the same document."""
    return yaml.dump(document.data, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


class _Loader(yaml.SafeLoader):
    """Notes which nodes carry a tag in the text."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.tagged: dict[int, str] = {}
        """id of the node -> its tag."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        tag = getattr(self.peek_event(), "tag", None)  # type: ignore[no-untyped-call]
        node = super().compose_node(parent, index)
        if tag is not None:
            self.tagged[id(node)] = tag
        return node


class _Dumper(yaml.SafeDumper):
    """Quotes text that our reader would read as a number."""


for _class in (_Loader, _Dumper):
    _class.add_implicit_resolver(f"{YAML_TAG}float", EXPONENT, [*"-+0123456789"])


def _line(name: str, node: yaml.Node | yaml.Event) -> str:
    return f"{name}:{node.start_mark.line + 1}" if node.start_mark else name


def _syntax_problem(error: yaml.MarkedYAMLError, name: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    where = f"{name}:{mark.line + 1}" if mark else name
    complaint = " ".join(part for part in (error.context, error.problem) if part)
    return Problem(where, "", f"is not YAML: {complaint}")


def _check_size(text: str, name: str) -> None:
    """Refuse absurd nesting and length before the recursive composer sees them."""
    depth = 0
    for number, event in enumerate(yaml.parse(text, Loader=yaml.SafeLoader)):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH or number > 3 * MAX_VALUES:
            rule = (
                f"is nested more than {MAX_DEPTH} levels deep"
                if depth > MAX_DEPTH
                else f"has more than {MAX_VALUES:,} values"
            )
            raise StudyError([Problem(_line(name, event), "", rule)])


def _float(text: str) -> float:
    if ":" in text:
        raise ValueError("must be a plain decimal number (YAML reads this as base 60)")
    value = float(text.lower().replace("_", "").replace(".inf", "inf").replace(".nan", "nan"))
    if not math.isfinite(value):
        raise ValueError("must be a finite number")
    return value


def _integer(text: str) -> int:
    if not INTEGER.fullmatch(text):
        raise ValueError("must be a plain decimal number (YAML reads this as octal, hexadecimal, binary or base 60)")
    if len(text) > 30 or abs(int(text.replace("_", ""))) > MAX_INTEGER:
        raise ValueError(f"must be a 64-bit integer, at most {MAX_INTEGER}")
    return int(text.replace("_", ""))


_CONVERT: dict[str, Callable[[str], Any]] = {
    f"{YAML_TAG}str": str,
    f"{YAML_TAG}bool": lambda text: text.lower() in ("true", "yes", "on"),
    f"{YAML_TAG}int": _integer,
    f"{YAML_TAG}float": _float,
}


class _Builder:
    """Nodes to plain data, places and problems."""

    def __init__(self, name: str, tagged: dict[int, str]) -> None:
        self.name = name
        self.tagged = tagged
        self.problems: list[Problem] = []
        self.places: dict[str, str] = {}
        self.texts: dict[str, str] = {}
        self.num_values = 0

    def document(self, node: yaml.MappingNode) -> Document:
        data = self._value(node, "", ())
        if not isinstance(data, dict):
            raise StudyError(self.problems)
        return Document(self.name, data, self.places, self.problems, self.texts)

    def _refuse(self, node: yaml.Node, path: str, message: str) -> Unreadable:
        self.problems.append(Problem(_line(self.name, node), path, message))
        return UNREADABLE

    def _value(self, node: yaml.Node, path: str, parents: tuple[int, ...]) -> Any:
        self.num_values += 1
        if self.num_values > MAX_VALUES:
            self._refuse(node, path, f"expands to more than {MAX_VALUES:,} values, aliases included")
            raise StudyError(self.problems)
        self.places[path] = _line(self.name, node)
        if id(node) in self.tagged:
            tag = self.tagged[id(node)].replace(YAML_TAG, "!!")
            return self._refuse(node, path, f"must have no YAML tag; got {shown(tag)}")
        if id(node) in parents:
            return self._refuse(node, path, "is an alias of something that contains it")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, (*parents, id(node)))
        if isinstance(node, yaml.SequenceNode):
            inside = (*parents, id(node))
            return [self._value(item, child(path, i), inside) for i, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: str, parents: tuple[int, ...]) -> Any:
        out: dict[str, Any] = {}
        lines: dict[str, int] = {}
        merges = False
        for key_node, value_node in node.value:
            if key_node.tag == f"{YAML_TAG}merge":
                self._refuse(key_node, path, "must not have '<<' merges; write the keys out")
                merges = True
                continue
            if key_node.tag != f"{YAML_TAG}str" or id(key_node) in self.tagged:
                self._refuse_key(key_node, path)
                continue
            key = str(key_node.value)
            line = key_node.start_mark.line + 1
            if key in lines:
                self._refuse(key_node, child(path, key), f"is given twice; first on line {lines[key]}")
                continue
            lines[key] = line
            out[key] = self._value(value_node, child(path, key), parents)
            self.places[child(path, key)] = f"{self.name}:{line}"
        return UNREADABLE if merges else out

    def _refuse_key(self, node: yaml.Node, path: str) -> None:
        if not isinstance(node, yaml.ScalarNode):
            self._refuse(node, path, "a key must be text; got a list or a mapping")
            return
        quoted = f"; did you mean '{node.value}', in quotes?" if PLAIN_KEY.fullmatch(node.value) else ""
        kind = node.tag.replace(YAML_TAG, "")
        self._refuse(node, path, f"a key must be text; got {kind} {shown(node.value)}{quoted}")

    def _scalar(self, node: yaml.Node, path: str) -> Any:
        if node.tag == f"{YAML_TAG}null":
            return self._refuse(node, path, "has no value (null); omit the key to get its default")
        convert = _CONVERT.get(node.tag)
        if convert is None:
            kind = node.tag.replace(YAML_TAG, "")
            return self._refuse(node, path, f"must be text, a number, true or false; got {kind} {shown(node.value)}")
        if node.tag != f"{YAML_TAG}str":
            self.texts[path] = node.value
        try:
            return convert(node.value)
        except ValueError as error:
            return self._refuse(node, path, with_value(str(error), shown(node.value)))
