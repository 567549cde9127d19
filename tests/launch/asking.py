"""Run as a program: a driver that asks the autoscaler of a cluster for machines, and then does nothing."""

from __future__ import annotations

import sys
import time

LOOK_S = 0.5


def main(address: str, namespace: str, number: int) -> None:
    import ray

    from raprune.evaluators import demand
    from raprune.evaluators.ray_backend import RayBackend
    from raprune.launch import local

    with local._loopback_as_it_is():
        ray.init(address, namespace=namespace, log_to_driver=False, _node_ip_address=local.LOOPBACK)
    demand.LOOK_S = LOOK_S
    RayBackend(namespace).request([{"CPU": 1.0}] * number)
    print("asked", flush=True)
    time.sleep(3600)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
