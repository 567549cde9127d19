"""What is wrong with a value, as a sentence: the rule, the value, the nearest valid choice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from raprune.registry import nearest

T = TypeVar("T", bound=Sequence[Any])
RULES = {
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "string_unicode": "text",
    "list_type": "a list",
    "dict_type": "a mapping",
    "finite_number": "a finite number",
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "below {lt}",
    "less_than_equal": "at most {le}",
    "too_short": "a list of at least {min_length}",
    "too_long": "a list of at most {max_length}",
}
"""pydantic's error type -> what the value must be."""


@dataclass(frozen=True)
class Complaint:
    """One thing that is wrong with plain data."""

    path: tuple[str | int, ...]
    """Keys and indices from the data's top."""
    message: str
    value: object
    """What stands there."""
    unknown_key: bool = False


def counted(number: int, noun: str, plural: str = "") -> str:
    """``1 trial``, ``1,200 trials``, ``2 joint passes``."""
    plural = plural or f"{noun}{'es' if noun.endswith('s') else 's'}"
    return f"{number:,} {noun if number == 1 else plural}"


def shown(value: object, limit: int = 80) -> str:
    """``value`` as a short text, control characters escaped, true and false as YAML has them."""
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text):,} characters)"


def as_written(value: object, text: str | None) -> str:
    """A number, true or false in the words of the file, where those are known; anything else as :func:`shown`."""
    return text if text and isinstance(value, int | float) else shown(value)


def with_value(message: str, text: str) -> str:
    """``message`` with ``; got TEXT`` at its end, before its ``; did you mean ...?``."""
    rule, hint, choice = message.partition("; did you mean ")
    return f"{rule}; got {text}{hint}{choice}"


def closest(value: object, known: Sequence[str]) -> str:
    """``; did you mean 'x'?``, or nothing where none of ``known`` is close."""
    hint = nearest(str(value), list(known))
    return hint.partition(" (")[0]


def check_layers(layers: Any, words: Sequence[str], said: str) -> Any:
    """``layers`` as they are. Raises ValueError for what is neither one of ``words``, which are ``said`` so, nor a list
    of names, each once."""
    if isinstance(layers, str | int | float | dict) and layers not in words:
        raise ValueError(f"must be {said} or a list of layer names{closest(layers, words)}")
    if layers == []:
        raise ValueError("must be a list of at least one layer")
    return check_once(layers, "layer") if isinstance(layers, list) else layers


def check_once(names: T, what: str) -> T:
    """``names`` as they are. Raises ValueError if one is repeated."""
    for index, name in enumerate(names):
        if name in names[:index]:
            raise ValueError(f"must name each {what} once; {shown(name)} is given twice")
    return names


def layers_as_json(words: Sequence[str]) -> dict[str, Any]:
    """The rule of :func:`check_layers` as JSON Schema."""
    names = {"type": "array", "items": {"type": "string"}, "minItems": 1, "uniqueItems": True}
    return {"anyOf": [{"enum": list(words)}, names]}


Written = Callable[[tuple[str | int, ...]], str | None]
"""Path inside the data -> how its value is written, where that is a number, true or false."""


def complaints(
    model: type[BaseModel], data: Any, errors: Sequence[ErrorDetails], written: Written = lambda path: None
) -> Iterator[Complaint]:
    """pydantic's errors in words; the errors of a union's alternatives become one. Values are shown as written."""
    unions: dict[tuple[str | int, ...], list[ErrorDetails]] = {}
    inner: set[tuple[str | int, ...]] = set()
    for details in errors:
        place = _Place.of(model, details)
        if place.union is None:
            yield _complaint(place, details, written(place.path))
        elif len(place.path) > len(place.union) and isinstance(_at(data, place.union), list):
            inner.add(place.union)
            yield _complaint(place, details, written(place.path))
        else:
            unions.setdefault(place.union, []).append(details)
    for path, alternatives in unions.items():
        if path not in inner:
            yield _alternatives(path, _at(data, path), alternatives, written(path))


@dataclass(frozen=True)
class _Place:
    """Where an error stands: pydantic's location without its notes on the alternatives of unions."""

    path: tuple[str | int, ...]
    union: tuple[str | int, ...] | None
    """The union's own path, for an error of one of its alternatives."""
    fields: tuple[str, ...]
    """The keys that are known at the end of the path, or around an unknown key."""

    @classmethod
    def of(cls, model: type[BaseModel], details: ErrorDetails) -> _Place:
        path: list[str | int] = []
        union = None
        here: type[BaseModel] | None = model
        around: type[BaseModel] = model
        is_mapping = False
        for part in details["loc"]:
            if here is None and not is_mapping and isinstance(part, str):
                union = tuple(path)
                continue
            path.append(part)
            around = here or around
            field = here.model_fields.get(str(part)) if here else None
            here = model_in(field.annotation) if field else None
            is_mapping = field is not None and get_origin(field.annotation) is dict
        at = (details.get("ctx") or {}).get("at")
        if at is not None:  # a rule about several keys names the one at which it is reported
            path.append(at)
        known = around if details["type"] == "extra_forbidden" or here is None else here
        return cls(tuple(path), union, tuple(known.model_fields))


def model_in(annotation: Any) -> type[BaseModel] | None:
    """The settings class that a field holds: itself, or the alternative of ``Settings | None``."""
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def _at(data: Any, path: tuple[str | int, ...]) -> Any:
    for part in path:
        data = data[part]
    return data


def _complaint(place: _Place, details: ErrorDetails, text: str | None) -> Complaint:
    kind, value = details["type"], details["input"]
    unknown_key = kind == "extra_forbidden"
    if unknown_key:
        if place.fields:
            message = f"is not a key here{nearest(str(place.path[-1]), list(place.fields))}"
        else:
            message = "is not a key here; nothing can be set here"
    elif kind == "missing":
        message, value = "is required", None
    elif kind == "rule":
        message = details["msg"]
    elif kind == "value_error":
        message = with_value(str(details["ctx"]["error"]), as_written(value, text))
    else:
        rule = f"a mapping of {', '.join(place.fields)}" if kind.startswith("model_") else _rule(details)
        message = f"must be {rule}; got {as_written(value, text)}{_hint(details, text)}"
    return Complaint(place.path, message, value, unknown_key)


def _alternatives(
    path: tuple[str | int, ...], value: object, alternatives: list[ErrorDetails], text: str | None
) -> Complaint:
    """One sentence for a value that is none of a union's alternatives."""
    same_kind = [a for a in alternatives if not a["type"].endswith(("_type", "literal_error"))]
    if same_kind and not isinstance(value, str):
        return _complaint(_Place(path, None, ()), same_kind[0], text)
    rules = list(dict.fromkeys(_rule(a) for a in alternatives))
    hints = [hint for a in alternatives if (hint := _hint(a, text))]
    message = f"must be {' or '.join(rules)}; got {as_written(value, text)}{hints[0] if hints else ''}"
    return Complaint(path, message, value)


def _rule(details: ErrorDetails) -> str:
    context = details.get("ctx") or {}
    if details["type"] == "literal_error":
        known = _literals(details)
        return f"one of {', '.join(known)}" if len(known) > 1 else known[0]
    rule = RULES.get(details["type"])
    return rule.format(**context) if rule else f"valid ({details['msg']})"


def _hint(details: ErrorDetails, text: str | None) -> str:
    """The nearest valid choice, where one is close."""
    kind, value = details["type"], details["input"]
    if kind == "literal_error":
        return closest(value, _literals(details))
    if kind == "string_type" and isinstance(value, bool | int | float):
        return f"; did you mean '{as_written(value, text)}', in quotes?"
    if kind in ("int_type", "int_from_float") and isinstance(value, float) and value == int(value):
        return f"; did you mean {int(value)}?"
    if kind in ("int_type", "float_type") and isinstance(value, str):
        number = value.strip().rstrip("%")
        if number.replace(".", "", 1).lstrip("+-").isdecimal():
            return f"; did you mean {number}, without quotes or unit?"
    return ""


def _literals(details: ErrorDetails) -> list[str]:
    expected = str((details.get("ctx") or {}).get("expected", ""))
    return [part.strip("' ") for part in expected.replace(" or ", ", ").split(", ")]
