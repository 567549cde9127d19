"""Run as a program: Tune on a real cluster of two raylets; the one where a trial starts first is one that differs.

Prints where each trial ended and what was told, as JSON.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from pathlib import Path

STORE = 80 * 2**20


class Refused:
    """What a study knows of its nodes."""

    def __init__(self) -> None:
        from raprune.launch.placing import off

        self.off, self.nodes = off, set[str]()

    def refuse(self, node: str) -> bool:
        is_new = node not in self.nodes
        self.nodes.add(node)
        return is_new

    def trial_labels(self) -> dict[str, str]:
        return self.off(self.nodes)


def main(folder: Path) -> None:
    from raprune.launch.cluster import LOCAL, QUIET

    os.environ |= QUIET | LOCAL | {"RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_AUTH_MODE": "token"}
    import ray
    from ray import tune
    from ray.cluster_utils import Cluster

    from raprune.launch.placing import needs, scheduler

    common = {"num_cpus": 1, "object_store_memory": STORE}
    cluster = Cluster(initialize_head=True, head_node_args={**common, "include_dashboard": False})
    cluster.add_node(**common)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")

    def trial(config: dict[str, int]) -> None:
        from raprune.errors import InputError
        from raprune.launch.placing import check_node

        class Given:
            def check_node(self) -> None:
                here = ray.get_runtime_context().get_node_id()
                try:
                    with (folder / "differs").open("x") as file:
                        file.write(here)
                except FileExistsError:
                    pass
                if (folder / "differs").read_text() == here:
                    raise InputError("node w cannot be used: torch is 1.0 there and 2.14 here")

        check_node(Given())  # type: ignore[arg-type]
        tune.report({"number": config["number"], "node": ray.get_runtime_context().get_node_id()})

    refused, told = Refused(), list[str]()
    results = tune.Tuner(
        tune.with_resources(trial, needs(refused.trial_labels())),
        param_space={"number": tune.grid_search(list(range(4)))},
        tune_config=tune.TuneConfig(scheduler=scheduler(refused, told.append), reuse_actors=True),
        run_config=tune.RunConfig(
            storage_path=str(folder / "tune"), verbose=0, failure_config=tune.FailureConfig(max_failures=-1)
        ),
    ).fit()
    nodes = {str(result.metrics["number"]): result.metrics["node"] for result in results}
    print(json.dumps({"nodes": nodes, "refused": sorted(refused.nodes), "told": told}))
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
