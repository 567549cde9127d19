"""Named settings. A preset lies beneath the study's own keys: the file wins.

``default`` is what we found best (docs/decisions.md has the figures); ``paper`` is the setting of Huang, Zhou, You and
Neumann (2018) as far as it is known (docs/decisions.md says which part), and is pinned in
every study that reproduces it, so that better defaults never silently change it. ``fast`` has fewer candidates and
approximate scores; its agent learns in few updates and keeps a distance from the bound. What is committed is measured
in full under every preset.
"""

from __future__ import annotations

from typing import Any

COMMON: dict[str, Any] = {
    "score": {"name": "top1_accuracy"},
    "order": {"name": "high_to_low"},
    "allocation": {"name": "shared"},
    "method": {"name": "taylor"},
    "reward": {"name": "bounded_log"},
}
"""What a study need not name; ``reward: {floor: none}`` sets one thing in the default reward."""

ABOUT = {
    "default": "What we found best: exact scores, forward only, fewest filters within the bound.",
    "fast": "Approximate scores and fewer candidates.",
    "paper": "The setting of Huang, Zhou, You and Neumann (2018).",
}
"""preset -> what it is."""

PRESETS: dict[str, dict[str, Any]] = {
    "default": {"candidates_per_layer": 100, "credit": "auto"},
    "fast": {
        "candidates_per_layer": 60,
        "fidelity": {"finetune": "recalibrate", "recalibration_batches": 2},
    },
    "paper": {
        "method": {"name": "agent"},
        "order": {"name": "low_to_high"},
        "guard": 0.0,
        "finetune": {"before_reward": {"epochs": 1}, "after_layer": {"epochs": 1}},
    },
}
"""preset -> trial keys."""

PLUGIN_PRESETS: dict[str, dict[tuple[str, str], dict[str, Any]]] = {
    "default": {},
    "fast": {
        ("method", "agent"): {"min_updates": 5, "max_updates": 10},
        ("decision", "reward"): {"prefixes": True},
    },
    "paper": {
        ("method", "agent"): {
            "masks_per_update": 5,
            "learning_rate": 0.01,
            "logit_learning_rate": 0.01,
            "max_updates": 100,
            "normalise": "mean_std",
            "initial_keep_probability": 0.5,
            "magnitude_prior": 0.0,
        },
        ("reward", "bounded_log"): {"floor": "none"},
    },
}
"""preset -> (kind, plug-in) -> settings."""

JOINT_OF: dict[str, dict[str, dict[str, Any]]] = {
    "default": {"search": {"passes": 3}},
    "fast": {},
    "paper": {},
}
"""preset -> decision stage -> the joint passes after it (``postprocess.joint``); none after the others."""

DECISIONS_OF: dict[str, dict[str, str]] = {
    "default": {},
    "fast": {"agent": "reward"},
    "paper": {"agent": "reward"},
}
"""preset -> method -> its decision stage, where that is not the one which the method declares."""
