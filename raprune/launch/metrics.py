"""A study's figures in the cluster's own metrics, which Prometheus collects and Grafana draws (docs/monitoring.md).

The driver counts what trials report, so nothing is asked of evaluators. Ray exports the metrics where ``ray[default]``
is installed; elsewhere they cost next to nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from raprune.launch.base import Passing, Watch
from raprune.network.state import ALL_LAYERS

COUNTERS = {
    "raprune_candidates": ("new_candidates", "Candidates asked for, those that the memo answered included."),
    "raprune_scored": ("new_scored", "Candidates that were scored, not known from the memo."),
    "raprune_images": ("new_images", "Validation images that candidates saw."),
    "raprune_images_saved": ("", "Images that the candidates would have seen, had each been scored anew in full."),
    "raprune_score_seconds": ("new_score_s", "Seconds for which evaluators scored candidates, summed over them."),
    "raprune_layers": ("", "Layers that were committed."),
    "raprune_trials": ("", "Trials that ended, by their status."),
}
"""Name of a counter -> the key of a trial's report that adds to it, and what it counts."""
GAUGES = {"raprune_evaluators": "Evaluators of the study that may be called now."}


class Metered(Passing):
    """Counts what trials report in Ray's metrics."""

    def __init__(self, watch: Watch, study: str) -> None:
        """The process must be connected to a cluster."""
        from ray.util import metrics

        super().__init__(watch)
        keys = {name: ("study", "status") if name == "raprune_trials" else ("study",) for name in COUNTERS}
        self._counters = {
            name: metrics.Counter(name, description=about, tag_keys=keys[name]) for name, (_, about) in COUNTERS.items()
        }
        for metric in self._counters.values():
            metric.set_default_tags({"study": study})

    def told(self, trial_id: str, progress: dict[str, Any]) -> None:
        super().told(trial_id, progress)
        for name, (key, _) in COUNTERS.items():
            if key and progress.get(key):
                self._counters[name].inc(progress[key])
        full = progress.get("new_candidates", 0) * progress.get("val_images", 0)
        if (saved := full - progress.get("new_images", 0)) > 0:
            self._counters["raprune_images_saved"].inc(saved)
        if "committed_pruning_ratio" in progress and progress.get("layer") != ALL_LAYERS:
            self._counters["raprune_layers"].inc()

    def ended(self, trial_id: str, status: str, folder: Path) -> None:
        super().ended(trial_id, status, folder)
        self._counters["raprune_trials"].inc(tags={"status": status})


class Gauged:
    """The size of a study's pool in Ray's metrics, from the first time that it is told."""

    def __init__(self, study: str) -> None:
        self._study = study
        self._gauge: Any = None
        self._number: int | None = None

    def follow(self, evaluators: int) -> None:
        """The process must be connected to a cluster."""
        from ray.util import metrics

        if self._gauge is None:
            ((name, about),) = GAUGES.items()
            self._gauge = metrics.Gauge(name, description=about, tag_keys=("study",))
            self._gauge.set_default_tags({"study": self._study})
        if evaluators != self._number:
            self._gauge.set(evaluators)
            self._number = evaluators


def dashboard_address() -> str:
    """Where the dashboard of this process's cluster is; empty where it has none."""
    import ray

    node = ray._private.worker._global_node
    return f"http://{node.webui_url}" if node is not None and node.webui_url else ""
