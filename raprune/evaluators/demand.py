"""What studies ask of a cluster's autoscaler, which keeps one request only: the sum of theirs.

The part of each study lies in the cluster's store, with the id of its driver's job. Whoever changes a part sends the
sum of those whose drivers live. A driver that is killed withdraws nothing itself: a small detached actor on the head
does it, once Ray's table of jobs says that the driver is gone. A driver that is slow or suspended is not.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Mapping, Sequence

STORE = b"raprune"
PARTS = b"demand/"
NAME = "withdrawer"
LOOK_S = 5.0
"""Seconds between two looks at whether a driver lives."""
HEAD = {"node:__internal_head__": 0.001}
"""What Ray's head has, and no machine that an autoscaler may end."""

Bundles = Sequence[Mapping[str, float]]


def ask(namespace: str, bundles: Bundles) -> None:
    """Ask for a cluster that holds ``bundles`` beside what other studies ask for; none: withdraw."""
    import ray

    if bundles:
        job = ray.get_runtime_context().get_job_id()
        ray.remote(Withdrawer).options(
            name=NAME, namespace=namespace, lifetime="detached", get_if_exists=True, num_cpus=0, resources=HEAD,
            max_restarts=-1, max_task_retries=0,
        ).remote(namespace, job, LOOK_S)  # fmt: skip
        _send(namespace, job, bundles)
    else:
        withdraw(namespace)


def withdraw(namespace: str) -> None:
    """Take a study's part back, and end its actor, which may be this process."""
    import ray
    from ray.experimental.internal_kv import _internal_kv_del, _internal_kv_exists

    if _internal_kv_exists(PARTS + namespace.encode(), namespace=STORE):
        _send(namespace, "", [])  # a part that is there is withdrawn again if this fails halfway
        _internal_kv_del(PARTS + namespace.encode(), namespace=STORE)
    with contextlib.suppress(ValueError):  # it has ended
        ray.kill(ray.get_actor(NAME, namespace=namespace))


def _send(namespace: str, job: str, bundles: Bundles) -> None:
    """Store a study's part and send the sum, until no other study has changed it meanwhile."""
    from ray.autoscaler.sdk import request_resources
    from ray.experimental.internal_kv import _internal_kv_put

    part = json.dumps([job, [dict(bundle) for bundle in bundles]])
    _internal_kv_put(PARTS + namespace.encode(), part.encode(), overwrite=True, namespace=STORE)
    sent = None
    while (wanted := _sum()) != sent:
        request_resources(bundles=wanted)
        sent = wanted


def _sum() -> list[dict[str, float]]:
    from ray.experimental.internal_kv import _internal_kv_get, _internal_kv_list

    living, found = _living(), list[dict[str, float]]()
    for key in sorted(_internal_kv_list(PARTS, namespace=STORE)):
        job, bundles = json.loads(_internal_kv_get(key, namespace=STORE) or '["", []]')
        found += bundles if job in living else []
    return found


def _living() -> set[str]:
    """The jobs whose drivers live."""
    import ray

    return {job["JobID"] for job in ray._private.state.jobs() if not job["IsDead"]}


class Withdrawer:
    """The actor: it ends when its study withdraws, or is gone."""

    def __init__(self, namespace: str, job: str, look_s: float) -> None:
        threading.Thread(target=_watch, args=(namespace, job, look_s), daemon=True).start()


def _watch(namespace: str, job: str, look_s: float) -> None:
    while True:
        time.sleep(look_s)
        with contextlib.suppress(Exception):  # whatever Ray raises while its head does not answer
            if job not in _living():
                withdraw(namespace)
