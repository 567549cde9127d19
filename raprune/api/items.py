"""Finds the image and the label in what a data set or loader returns: a pair, or something with named parts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from raprune.errors import InputError

IMAGE_KEYS = ("image", "images", "pixel_values", "img", "imgs", "input", "inputs", "x")
LABEL_KEYS = ("label", "labels", "target", "targets", "y", "class", "mask", "masks", "annotation", "segmentation_mask")
"""Names under which an image and its label are found, in upper or lower case."""


def two(item: Any, what: str) -> tuple[Any, Any]:
    """Image and label of ``item``, which messages call ``what``.

    A pair; or a mapping, named tuple or data class with one part named in ``IMAGE_KEYS`` and one in ``LABEL_KEYS``;
    other parts are ignored. Raises :class:`InputError` for anything else.
    """
    named = _named(item)
    if named is not None:
        image, label = (_only(named, keys) for keys in (IMAGE_KEYS, LABEL_KEYS))
        if image is not None and label is not None:
            return named[image], named[label]
        if not isinstance(item, tuple):
            missing = "image" if image is None else "label"
            keys = IMAGE_KEYS if image is None else LABEL_KEYS
            known = ", ".join(keys[:4])
            raise InputError(
                f"{what}: must have one {missing} ({known}, ...) among its parts; got {', '.join(map(str, named))}; "
                "or let the data set return (image, label)"
            )
    if not isinstance(item, tuple | list) or len(item) != 2:
        got = f"{len(item)} values" if isinstance(item, tuple | list) else type(item).__name__
        raise InputError(f"{what}: must be a pair of image and label, or name them; got {got}")
    return item[0], item[1]


def _named(item: Any) -> dict[str, Any] | None:
    if isinstance(item, Mapping):
        return dict(item)
    if isinstance(item, tuple) and hasattr(item, "_fields"):
        return dict(zip(item._fields, item, strict=True))
    if dataclasses.is_dataclass(item) and not isinstance(item, type):
        return {field.name: getattr(item, field.name) for field in dataclasses.fields(item)}
    return None


def _only(named: Mapping[str, Any], keys: tuple[str, ...]) -> str | None:
    """The one name that is among ``keys``; ``None`` where there is none, or more than one."""
    found = [name for name in named if str(name).lower() in keys]
    return found[0] if len(found) == 1 else None
