"""What trials are called."""

from __future__ import annotations

from collections.abc import Mapping


def trial_label(labels: Mapping[str, str]) -> str:
    """A trial in a few words: ``agent, drop_bound 4.0, low_to_high``."""
    others = (value if axis == "order" else f"{axis} {value}" for axis, value in labels.items() if axis != "method")
    return ", ".join(filter(None, [labels.get("method", ""), *others]))
