"""The manifest of a study's folder: what is run, and with what."""

from __future__ import annotations

import contextlib
import platform
import socket
import subprocess
import sys
from pathlib import Path

from raprune import __version__
from raprune.launch.execute import MANIFEST
from raprune.results import SCHEMA_VERSION, write_json, write_text
from raprune.study import StudyPlan
from raprune.system.paths import PACKAGE


def write_manifest(plan: StudyPlan, out: Path) -> None:
    """Write what the folder ``out`` is for: the study as run, and its trials."""
    write_text(out / "study.yaml", plan.text)
    write_json(
        out / MANIFEST,
        {
            "study": plan.spec.name,
            "rehearses": plan.document.rehearses,
            "description": plan.spec.description,
            "preset": plan.spec.preset,
            "schema_version": SCHEMA_VERSION,
            "trial_ids": [trial.trial_id for trial in plan.trials],
            "axes": {trial_id: dict(axes) for trial_id, axes in plan.axes.items()},
            "raprune": __version__,
            "commit": _commit(),
            "python": platform.python_version(),
            "packages": _versions(),
            "host": socket.gethostname(),
            "platform": platform.platform(),
            "command": sys.argv,
        },
    )


def _versions() -> dict[str, str]:
    """Versions of the installed packages; a study in one process runs without Ray."""
    from importlib.metadata import PackageNotFoundError, version

    versions = {}
    for name in ("torch", "torchvision", "ray", "numpy", "pandas", "pyarrow"):
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def _commit() -> str | None:
    """The commit of the source checkout, if this is one."""
    try:
        head = subprocess.run(
            ["git", "-C", str(PACKAGE), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return head.stdout.strip() or None
