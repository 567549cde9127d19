"""Ray as the pool of evaluators uses it: the only file that knows how its calls, actors and errors look."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from raprune.errors import RapruneError
from raprune.evaluators.backend import Actor, Backend, CallError, LostError, Node, Ref
from raprune.evaluators.demand import STORE, ask

MACHINE_LOST = "its machine was lost"


@contextlib.contextmanager
def _asking_the_head() -> Iterator[None]:
    """Raises :class:`LostError` for whatever Ray raises while its head does not answer."""
    try:
        yield
    except Exception as error:
        raise LostError(f"the cluster's head does not answer ({error})") from None


class RayBackend(Backend):
    """The cluster that this process is connected to, as the study of ``namespace`` sees it."""

    def __init__(self, namespace: str, make: Callable[[str], Actor] | None = None) -> None:
        """``make`` starts the evaluator of a name; only the driver has one."""
        self.namespace = namespace
        self._make = make

    def now(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def call(self, actor: Actor, method: str, *arguments: Any) -> Ref:
        return getattr(actor, method).remote(*arguments)

    def wait(self, refs: Sequence[Ref], number: int, timeout_s: float) -> list[Ref]:
        import ray

        ready: list[Ref] = ray.wait(list(refs), num_returns=number, timeout=timeout_s)[0]
        return ready

    def result(self, ref: Ref) -> Any:
        import ray

        try:
            return ray.get(ref)
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, RapruneError):
                raise error.cause from None
            raise CallError(str(error)) from None
        except ray.exceptions.RayError as error:
            memory = isinstance(error, ray.exceptions.OutOfMemoryError)
            for_good = isinstance(error, ray.exceptions.ActorDiedError)
            raise LostError(why_lost(error), memory=memory, for_good=for_good) from None

    def put(self, value: Any) -> Ref:
        import ray

        return ray.put(value)

    def find(self, name: str) -> Actor:
        import ray

        try:
            return ray.get_actor(name, namespace=self.namespace)
        except ValueError:
            raise LostError(f"{name} has ended", for_good=True) from None

    def kill(self, actor: Actor, *, restart: bool) -> None:
        import ray

        ray.kill(actor, no_restart=not restart)

    def read(self, key: str) -> str | None:
        from ray.experimental.internal_kv import _internal_kv_get

        try:
            value = _internal_kv_get(self._key(key), namespace=STORE)
        except Exception:  # no store answers, whatever Ray raises then
            return None
        return value.decode() if value else None

    def write(self, key: str, value: str, *, overwrite: bool = True) -> bool:
        from ray.experimental.internal_kv import _internal_kv_put

        try:
            existed = _internal_kv_put(self._key(key), value.encode(), overwrite=overwrite, namespace=STORE)
        except Exception:  # as above
            return False
        return overwrite or not existed

    def forget(self) -> None:
        """Remove everything that the study wrote, from the store of a cluster that outlives it."""
        from ray.experimental.internal_kv import _internal_kv_del

        with contextlib.suppress(Exception):  # as above: then the store is gone
            _internal_kv_del(self._key(""), del_by_prefix=True, namespace=STORE)

    def nodes(self) -> list[Node]:
        import ray

        with _asking_the_head():
            every = ray.nodes()
        return [
            Node(node["NodeID"], node["NodeManagerHostname"], dict(node["Resources"]), dict(node["Labels"] or {}))
            for node in every
            if node["Alive"]
        ]

    def free(self) -> Mapping[str, Mapping[str, float]]:
        import ray

        with _asking_the_head():
            found: Mapping[str, Mapping[str, float]] = ray._private.state.available_resources_per_node()
        return found

    def node_of(self, actor: Actor) -> str:
        import ray

        with _asking_the_head():
            known = ray._private.state.actors(actor._actor_id.hex())
        place = known.get("Address", {})
        has_process = known.get("State") != "DEAD" and place.get("IPAddress")
        return str(place["NodeID"]) if has_process else ""  # one that waits has its owner's node here

    def starting(self, class_name: str) -> list[str]:
        import ray

        with _asking_the_head():
            known = ray._private.state.actors()
        ours = ray.get_runtime_context().get_job_id()
        return [
            actor_id
            for actor_id, about in known.items()
            if (about["JobID"], about["ActorClassName"], about["State"]) == (ours, class_name, "PENDING_CREATION")
            and about["Address"].get("IPAddress")  # else it waits for room
        ]

    def kill_starting(self, actor_id: str) -> None:
        import ray

        worker = ray._private.worker.global_worker.core_worker
        worker.kill_actor(ray.ActorID(bytes.fromhex(actor_id)), True)  # as ray.kill, which wants a handle

    def here(self) -> str:
        import ray

        return str(ray.get_runtime_context().get_node_id())

    def create(self, name: str) -> Actor:
        if self._make is None:
            raise ValueError("only the driver starts evaluators")
        return self._make(name)

    def request(self, bundles: Sequence[Mapping[str, float]]) -> None:
        import ray

        node = ray._private.worker._global_node
        if node is not None and node.is_head():
            return  # a Ray that this process started has no autoscaler, and ends with it
        with _asking_the_head():
            ask(self.namespace, bundles)

    def _key(self, key: str) -> bytes:
        return f"{self.namespace}/{key}".encode()


def why_lost(error: Exception) -> str:
    """Why Ray lost a process, as part of a sentence."""
    import ray

    text = str(error)
    short = "memory pressure" in text or "out of memory" in text.lower()
    if short or isinstance(error, ray.exceptions.OutOfMemoryError):
        return "it was ended because its host ran out of memory"
    if "creation task" in text:
        return f"it could not be started: {text.strip().splitlines()[-1]}"
    if "its node" in text:
        return MACHINE_LOST
    return "its process was killed or crashed (the kernel kills processes when memory is short, and says so in `dmesg`)"
