"""A program that imported Ray before it calls raprune: Ray reads how to authenticate when it is imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import PATIENCE_S

CODE = """
import ray
from raprune.launch.cluster import connect
from raprune.study.schema import EvaluatorsSpec
connect(None, "imported-before", EvaluatorsSpec(), 1, 1, cpus=1)
print(int(ray.cluster_resources()["CPU"]))
ray.shutdown()
"""


@pytest.mark.slow  # the cluster of the tests, in conftest.py, is started by a process that imported Ray before, too
def test_ray_starts_where_it_was_imported_before() -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_AUTH")}
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        cwd=root,
        env=environment,
        check=False,
    )
    assert done.stdout.split()[-1:] == ["1"], done.stderr
