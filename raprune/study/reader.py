"""YAML text to plain data that remembers its lines; whatever a study file may not hold is refused here.

Refused, each with its line: duplicate keys, tags, null, NaN and infinite numbers, keys that are not text, more than
20 levels of nesting, aliases that expand to more than 10,000 values, an empty file, a file that is not a mapping.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from raprune.errors import Problem, StudyError

MAX_DEPTH = 20
MAX_VALUES = 10_000
MAX_BYTES = 1_000_000
EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")


def child(path: str, key: str | int) -> str:
    """The YAML path of ``key`` inside ``path``: ``sweep.drop_bound[0]``."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else key


@dataclass
class Document:
    """A study file as plain data, with the place of every value."""

    name: str
    """What messages call the file."""
    data: dict[str, Any]
    places: dict[str, str] = field(default_factory=dict)
    """YAML path -> ``file:line`` or ``--set``."""

    def where(self, path: str) -> str:
        """The place of ``path``, or of the nearest thing around it."""
        while path and path not in self.places:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.places.get(path, self.name)

    def problem(self, path: str, message: str) -> Problem:
        return Problem(self.where(path), path, message)


def read_document(file: Path) -> Document:
    """Read a study file. Raises :class:`StudyError` with every problem of the file's form."""
    name = str(file)
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise StudyError([Problem(name, "", f"cannot be read: {error.strerror or error}")]) from None
    if len(raw) > MAX_BYTES:
        raise StudyError([Problem(name, "", f"is {len(raw):,} bytes; a study file has at most {MAX_BYTES:,}")])
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise StudyError([Problem(name, "", f"is not UTF-8 text (byte {error.start})")]) from None
    return parse_document(text, name)


def parse_document(text: str, name: str) -> Document:
    """Parse a study file's text; ``name`` is what messages call it."""
    try:
        _check_depth(text, name)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        raise StudyError([_syntax_problem(error, name)]) from None
    except yaml.YAMLError as error:
        raise StudyError([Problem(name, "", f"is not YAML: {error}")]) from None
    if node is None:
        raise StudyError([Problem(name, "", "is empty; see `raprune list` and studies/quickstart.yaml")])
    if not isinstance(node, yaml.MappingNode):
        line = node.start_mark.line + 1
        raise StudyError([Problem(f"{name}:{line}", "", "must be a mapping of keys to values at the top")])
    return _Builder(name).document(node)


def parse_scalar(text: str, path: str) -> Any:
    """The value of ``--set path=text``: a YAML scalar or flow sequence or mapping."""
    document = parse_document(f"value: {text}" if text.strip() else "value: ''", "--set")
    document.places = dict.fromkeys(document.places, "--set")
    if set(document.data) != {"value"}:
        raise StudyError([Problem("--set", path, f"must be one value; got {text!r}")])
    return document.data["value"]


def dump(document: Document) -> str:
    """The document as YAML text."""
    return yaml.safe_dump(document.data, sort_keys=False, allow_unicode=True)


def _syntax_problem(error: yaml.MarkedYAMLError, name: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    where = f"{name}:{mark.line + 1}" if mark else name
    found = " ".join(part for part in (error.context, error.problem) if part)
    return Problem(where, "", f"is not YAML: {found}")


def _check_depth(text: str, name: str) -> None:
    """Refuse absurd nesting before the recursive composer sees it."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                where = f"{name}:{event.start_mark.line + 1}"
                raise StudyError([Problem(where, "", f"is nested more than {MAX_DEPTH} levels deep")])
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


_PLAIN_TAGS: dict[str, Callable[[str], Any]] = {
    "tag:yaml.org,2002:str": str,
    "tag:yaml.org,2002:bool": lambda text: text.lower() in ("true", "yes", "on"),
    "tag:yaml.org,2002:int": lambda text: int(text.replace("_", ""), 0),
    "tag:yaml.org,2002:float": lambda text: float(text.replace("_", "")),
}


class _Builder:
    def __init__(self, name: str) -> None:
        self.name = name
        self.problems: list[Problem] = []
        self.places: dict[str, str] = {}
        self.num_values = 0

    def document(self, node: yaml.MappingNode) -> Document:
        data = self._value(node, "", ())
        if self.problems:
            raise StudyError(self.problems)
        return Document(self.name, data, self.places)

    def _complain(self, node: yaml.Node, path: str, message: str) -> None:
        self.problems.append(Problem(f"{self.name}:{node.start_mark.line + 1}", path, message))

    def _value(self, node: yaml.Node, path: str, parents: tuple[int, ...]) -> Any:
        self.num_values += 1
        if self.num_values > MAX_VALUES:
            where = f"{self.name}:{node.start_mark.line + 1}"
            raise StudyError([Problem(where, path, f"aliases expand to more than {MAX_VALUES:,} values")])
        if id(node) in parents:
            raise StudyError([Problem(f"{self.name}:{node.start_mark.line + 1}", path, "contains itself")])
        self.places[path] = f"{self.name}:{node.start_mark.line + 1}"
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, (*parents, id(node)))
        if isinstance(node, yaml.SequenceNode):
            self._check_tag(node, path, "tag:yaml.org,2002:seq")
            inside = (*parents, id(node))
            return [self._value(item, child(path, i), inside) for i, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _check_tag(self, node: yaml.Node, path: str, plain: str) -> None:
        if node.tag != plain:
            self._complain(node, path, f"has the tag {node.tag!r}; a study file has none")

    def _mapping(self, node: yaml.MappingNode, path: str, parents: tuple[int, ...]) -> dict[str, Any]:
        self._check_tag(node, path, "tag:yaml.org,2002:map")
        out: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                self._complain(key_node, path, "'<<' merges are not supported; write the keys out")
                continue
            if key_node.tag != "tag:yaml.org,2002:str":
                self._complain(key_node, path, f"a key must be text; got {getattr(key_node, 'value', '')!r}")
                continue
            key = str(key_node.value)
            line = key_node.start_mark.line + 1
            if key in lines:
                where = child(path, key)
                self._complain(key_node, where, f"is given twice; first in line {lines[key]}")
                continue
            lines[key] = line
            out[key] = self._value(value_node, child(path, key), parents)
            self.places[child(path, key)] = f"{self.name}:{line}"
        return out

    def _scalar(self, node: yaml.ScalarNode, path: str) -> Any:
        if node.tag == "tag:yaml.org,2002:null":
            self._complain(node, path, "has no value (null); leave the key out to get its default")
            return None
        tag = node.tag
        if tag.endswith(":str") and node.style is None and EXPONENT.fullmatch(node.value):
            tag = "tag:yaml.org,2002:float"  # YAML 1.1 takes 1e-3 for text
        convert = _PLAIN_TAGS.get(tag)
        if convert is None or (node.tag.endswith(":float") and node.value.lower().lstrip("+-") in (".nan", ".inf")):
            kind = "not a finite number" if convert else f"of a kind a study file does not hold ({node.tag})"
            self._complain(node, path, f"is {kind}: {node.value!r}")
            return None
        try:
            value = convert(node.value)
        except ValueError:
            self._complain(node, path, f"cannot be read: {node.value!r}")
            return None
        if isinstance(value, float) and not math.isfinite(value):
            self._complain(node, path, f"is not a finite number: {node.value!r}")
        return value
