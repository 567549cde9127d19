"""The recipes of docs/deploy: each holds to the schema of what reads it, and the script does what it says."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.packaging.builds import build_wheel, members
from tests.test_docs_commands import wrong
from tests.test_shape import ROOT
from tests.waiting import PATIENCE_S, until

DEPLOY = ROOT / "docs" / "deploy"
FILES = sorted(file for file in DEPLOY.iterdir() if file.suffix != ".json")
RESOURCES = {"type": "object", "additionalProperties": {"type": ["string", "integer"]}}
TEMPLATE = {
    "type": "object", "additionalProperties": False, "required": ["spec"],
    "properties": {"spec": {"type": "object", "additionalProperties": False, "required": ["containers"], "properties": {
        "containers": {"type": "array", "minItems": 1, "items": {
            "type": "object", "additionalProperties": False, "required": ["name", "image", "resources"],
            "properties": {
                "name": {"type": "string", "pattern": "^[a-z0-9-]+$"}, "image": {"type": "string"},
                "envFrom": {"type": "array", "items": {"type": "object", "required": ["secretRef"]}},
                "resources": {"type": "object", "additionalProperties": RESOURCES, "required": ["requests", "limits"]},
                "ports": {"type": "array", "items": {"type": "object", "required": ["containerPort"]}},
            },
        }},
    }}},
}  # fmt: skip
GROUP = {"rayStartParams": {"type": "object", "additionalProperties": {"type": "string"}}, "template": TEMPLATE}
RAY_JOB = {
    "type": "object", "additionalProperties": False, "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": "ray.io/v1"}, "kind": {"const": "RayJob"},
        "metadata": {"type": "object", "required": ["name"]},
        "spec": {"type": "object", "additionalProperties": False, "required": ["entrypoint"], "properties": {
            "entrypoint": {"type": "string"}, "shutdownAfterJobFinishes": {"type": "boolean"},
            "ttlSecondsAfterFinished": {"type": "integer"}, "backoffLimit": {"type": "integer"},
            "rayClusterSpec": {
                "type": "object", "additionalProperties": False, "required": ["headGroupSpec", "rayVersion"],
                "properties": {
                    "rayVersion": {"type": "string"}, "enableInTreeAutoscaling": {"type": "boolean"},
                    "authOptions": {"type": "object", "properties": {"mode": {"enum": ["token", "disabled"]}}},
                    "headGroupSpec": {"type": "object", "additionalProperties": False, "properties": GROUP},
                    "workerGroupSpecs": {"type": "array", "items": {
                        "type": "object", "additionalProperties": False, "required": ["groupName", "template"],
                        "properties": GROUP | {"groupName": {"type": "string"}} | {
                            name: {"type": "integer"} for name in ("replicas", "minReplicas", "maxReplicas")
                        },
                    }},
                },
            },
        }},
    },
}  # fmt: skip
"""The fields of a RayJob that ours uses, as in KubeRay's definition of ``ray.io/v1``; others are refused."""


def named(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text())


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_each_begins_with_three_lines_of_guide(file: Path) -> None:
    lines = [line for line in file.read_text().splitlines() if not line.startswith("#!")]
    assert all(line.startswith("# ") for line in lines[:3])
    assert not lines[3].startswith("# ")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_commands_of_ours_exist(file: Path) -> None:
    found = re.findall(r"raprune (?:study|watch|check) [^'\n&(]*", file.read_text().replace("s3://", "/"))
    assert [line for line in found if wrong(line, whole=True)] == []
    assert found or file.name == "Dockerfile"


def test_what_the_image_copies_is_there_and_builds(tmp_path: Path) -> None:
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    steps = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]
    assert steps[0][0] == "FROM"
    assert {verb for verb, _ in steps} <= {"FROM", "RUN", "WORKDIR", "COPY", "USER"}
    for *sources, target in (shlex.split(rest) for verb, rest in steps if verb == "COPY"):
        for source in sources:
            there = tmp_path / "image" / target
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, there, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                there.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / source, there)
    built = members(build_wheel(tmp_path / "image", tmp_path / "wheel"))
    assert {"raprune/cli/__init__.py", "raprune/analysis/plots.py", "raprune/studies/quickstart.yaml"} <= set(built)
    assert any('.[cluster]"' in rest for verb, rest in steps if verb == "RUN")


def test_the_ray_cluster_holds_to_rays_schema() -> None:
    ray = find_spec("ray")
    assert ray is not None
    assert ray.origin is not None
    schema = json.loads((Path(ray.origin).parent / "autoscaler" / "ray-schema.json").read_text())
    config = named("ray-cluster.yaml")
    jsonschema.validate(config, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(config | {"max_wrkers": 1}, schema)
    types = config["available_node_types"]
    assert types[config["head_node_type"]]["labels"]["ray.io/market-type"] == "on-demand"
    assert types["gpu"]["node_config"]["InstanceMarketOptions"]["MarketType"] == "spot"
    starts = config["head_start_ray_commands"] + config["worker_start_ray_commands"]
    assert all("RAY_AUTH_MODE=token" in line for line in starts if "ray start" in line)


def test_the_ray_job_has_the_fields_of_a_ray_job() -> None:
    job = named("rayjob.yaml")
    jsonschema.validate(job, RAY_JOB)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(job | {"spec": job["spec"] | {"entrypont": ""}}, RAY_JOB)
    assert job["spec"]["rayClusterSpec"]["authOptions"] == {"mode": "token"}
    project = (ROOT / "pyproject.toml").read_text()
    low, high = re.search(r"ray\[tune\]>=2\.(\d+),<2\.(\d+)", project).groups()  # type: ignore[union-attr]
    assert int(low) <= int(job["spec"]["rayClusterSpec"]["rayVersion"].split(".")[1]) < int(high)


STARTED = 'until [ "$(grep -c \'ray start\' "$CALLS")" -ge %d ]; do command -p sleep 0.02; done'
"""Waits until so many nodes have been asked for."""


def catches(process: int, number: int) -> bool:
    """Whether a process has a handler for a signal."""
    status = Path(f"/proc/{process}/status").read_text()
    return bool(int(status.partition("SigCgt:")[2].split()[0], 16) >> (number - 1) & 1)


def slurm(tmp_path: Path, study: str) -> tuple[int, list[str]]:
    """Runs the script with programs that only note how they were called; ``study`` is what ``raprune`` does."""
    programs = {
        "scontrol": "printf 'n1\\nn2\\nn3\\n'",
        "srun": 'echo "$*" >> "$CALLS"; while [[ $1 == --* ]]; do shift; done; exec "$@"',
        "ray": f"case \"$*\" in *status*) {STARTED % 3}; printf ' 1 node_%s\\n' a b c;; *) exec sleep 1000;; esac",
        "sleep": f'{STARTED % 1}; command -p sleep "$1"',
        "raprune": study,
    }
    for name, text in programs.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    calls = tmp_path / "calls"
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "CALLS": str(calls), "HEAD_STARTS_S": "0"}
    environment |= {"SLURM_JOB_ID": "42", "SLURM_JOB_NODELIST": "n[1-3]", "SLURM_CPUS_PER_TASK": "8"}
    done = subprocess.Popen(
        ["bash", str(DEPLOY / "slurm.sh"), "my.yaml", "/shared/my"], env=environment, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        if "TERM" in study:
            until(lambda: (tmp_path / "began").exists() and catches(done.pid, signal.SIGTERM), done)
            done.terminate()
        code = done.wait(timeout=PATIENCE_S)
    finally:
        os.killpg(done.pid, 9)
    return code, calls.read_text().splitlines()


def test_the_script_starts_the_nodes_and_then_the_study(tmp_path: Path) -> None:
    code, calls = slurm(tmp_path, "exit 3")
    assert code == 3  # the study's own
    on = "--nodes=1 --ntasks=1 --overlap --nodelist="
    has = "--num-cpus 8 --num-gpus 0"
    assert calls[0] == f"{on}n1 ray start --block --head --port 20042 {has}"
    assert {f"{on}{node} ray start --block --address n1:20042 {has}" for node in ("n2", "n3")} <= set(calls)
    assert [line for line in calls if "raprune" in line] == [
        f"{on}n1 raprune study my.yaml --out /shared/my --address n1:20042"
    ]


def test_the_script_passes_a_signal_on_and_waits_for_the_study(tmp_path: Path) -> None:
    study = f"trap 'sleep 0.5; touch {tmp_path}/stopped; exit 130' TERM; touch {tmp_path}/began; sleep 1000 & wait"
    code, _ = slurm(tmp_path, study)
    assert code == 130
    assert (tmp_path / "stopped").exists()
