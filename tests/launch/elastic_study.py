"""Run as a program: the tiny study on a real cluster whose machines come and go; prints what happened, as JSON.

It begins with one machine of the two that it wants. The second is killed (its raylet) after two layers; then a third
one joins. All scoring is held until its evaluator may be called, so that both score from there on.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
import time
from pathlib import Path
from typing import Any

from raprune.launch.base import Passing, Watch

STORE = 80 * 2**20


def main(folder: Path, overrides: list[str]) -> None:
    from raprune.launch.cluster import LOCAL, QUIET

    os.environ |= QUIET | LOCAL | {"RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_AUTH_MODE": "token"}
    import ray
    from ray.cluster_utils import Cluster
    from rich.console import Console

    from raprune.console.progress import StudyProgress
    from raprune.console.trials import TrialProgress
    from raprune.launch import run_study
    from raprune.study import load_study

    head = {"num_cpus": 1, "object_store_memory": STORE, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    plan = load_study(folder / "tiny.yaml", ["evaluators={min: 2, max: 4}", *overrides])
    trials = {trial.trial_id: TrialProgress(trial.method.name, 40, 3) for trial in plan.trials}
    with StudyProgress(Console(quiet=True), trials, out=folder / "out", study=plan.spec.name) as progress:
        machines = Machines(progress, cluster, folder / "site-packages" / "hold")
        outcome = run_study(plan, folder / "out", machines, address=cluster.address)
    print(json.dumps({"summary": outcome.summary(), "said": machines.said}))
    ray.shutdown()
    cluster.shutdown()


class Machines(Passing):
    """Watches the study, and moves machines at what it sees."""

    def __init__(self, watch: Watch, cluster: Any, hold: Path) -> None:
        super().__init__(watch)
        self.cluster, self.hold = cluster, hold
        self.said: list[str] = []
        self.commits = 0
        self.second: Any = None
        self.added = False

    def evaluators(self, text: str) -> None:
        super().evaluators(text)
        self.said.append(text)
        print(f"{time.strftime('%X')} {text}", file=sys.stderr, flush=True)
        if self.second is None and text.startswith("waiting"):
            self.second = self.cluster.add_node(num_cpus=1, object_store_memory=STORE, wait=False)
        elif "was lost" in text and not self.added:
            self.added = True
            self.cluster.add_node(num_cpus=1, object_store_memory=STORE, wait=False)
        elif self.added and text.startswith("2 evaluators"):
            self.hold.unlink()

    def told(self, trial_id: str, progress: dict[str, Any]) -> None:
        super().told(trial_id, progress)
        if "committed_pruning_ratio" in progress:
            self.commits += 1
            if self.commits == 2:
                self.hold.touch()  # the study does not end before another machine has joined
                self.cluster.remove_node(self.second, allow_graceful=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
