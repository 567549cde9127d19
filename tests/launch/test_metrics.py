"""A study's metrics: what is counted, that the Grafana dashboard draws it, and that a real Ray serves it."""

from __future__ import annotations

import importlib.util
import json
import re
import urllib.request
from collections import defaultdict
from pathlib import Path

import pytest

from raprune.errors import InputError
from raprune.launch.cluster import connect
from raprune.launch.metrics import COUNTERS, GAUGES, Gauged, Metered, dashboard_address
from raprune.study.parts import EvaluatorsSpec
from tests.launch.runs import Watch
from tests.test_shape import ROOT
from tests.waiting import PATIENCE_S, until

EXPORTED = {f"ray_{name}_total" for name in COUNTERS} | {f"ray_{name}" for name in GAUGES}
"""As Ray exports them."""
NEWS = {"new_candidates": 4, "new_scored": 3, "new_images": 250, "new_score_s": 1.5, "val_images": 100}


def test_every_panel_draws_what_is_exported() -> None:
    dashboard = json.loads((ROOT / "docs" / "deploy" / "grafana.json").read_text())
    drawn = set()
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            names = set(re.findall(r"ray_\w+", target["expr"]))
            assert names, panel["title"]
            assert names <= EXPORTED, panel["title"]
            drawn |= names
    assert drawn == EXPORTED
    assert {variable["name"] for variable in dashboard["templating"]["list"]} == {"datasource", "study"}


def test_what_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: dict[str, float] = defaultdict(float)

    class Fake:
        def __init__(self, name: str, description: str, tag_keys: tuple[str, ...]) -> None:
            self.name, self.keys = name, tag_keys

        def set_default_tags(self, tags: dict[str, str]) -> None:
            assert tags == {"study": "s"}

        def inc(self, value: float = 1.0, tags: dict[str, str] | None = None) -> None:
            assert set(tags or {}) <= set(self.keys)
            counted[" ".join([self.name, *(tags or {}).values()])] += value

        def set(self, value: float) -> None:
            counted[self.name] = value

    monkeypatch.setattr("ray.util.metrics.Counter", Fake)
    monkeypatch.setattr("ray.util.metrics.Gauge", Fake)
    watch = Watch()
    metered, gauged = Metered(watch, "s"), Gauged("s")
    metered.told("a", dict(NEWS))
    metered.told("a", {"committed_pruning_ratio": 0.5})
    metered.ended("a", "completed", Path())
    assert counted == {
        "raprune_candidates": 4, "raprune_scored": 3, "raprune_images": 250,
        "raprune_images_saved": 150, "raprune_score_seconds": 1.5, "raprune_layers": 1, "raprune_trials completed": 1,
    }  # fmt: skip
    assert (watch.commits, watch.statuses) == (1, {"a": "completed"})
    sizes = []
    for size in (0, 3, 3, 1):
        gauged.follow(size)
        sizes.append(counted.pop("raprune_evaluators", None))
    assert sizes == [0, 3, None, 1]  # sent where it has changed


def test_a_missing_dashboard_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raprune.launch.cluster.importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    with pytest.raises(InputError, match=r"--dashboard .* pip install 'raprune\[cluster\]' brings ray\[default\]"):
        connect(None, "raprune-none", EvaluatorsSpec(dashboard=True), 1, 1, cpus=2)


@pytest.mark.slow
def test_a_real_ray_serves_them() -> None:
    """The endpoint that Prometheus reads, and the dashboard; in a Ray of its own."""
    if any(importlib.util.find_spec(name) is None for name in ("aiohttp", "prometheus_client", "opencensus")):
        pytest.skip("needs ray[default], which the extra cluster brings")
    import ray

    if ray.is_initialized():
        pytest.skip("needs a process without a cluster: run this file alone")
    connection = connect(None, "raprune-metrics", EvaluatorsSpec(dashboard=True), 1, 1, cpus=1)
    try:
        metered = Metered(Watch(), "s")
        Gauged("s").follow(3)
        metered.told("a", {**NEWS, "committed_pruning_ratio": 0.5})
        metered.ended("a", "completed", Path())
        node = ray.nodes()[0]
        address = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"

        def served() -> set[str]:
            text = urllib.request.urlopen(address, timeout=PATIENCE_S).read().decode()
            return set(re.findall(r"^(ray_raprune_\w+)\{", text, flags=re.MULTILINE))

        until(lambda: served() >= EXPORTED)
        assert urllib.request.urlopen(dashboard_address(), timeout=PATIENCE_S).status == 200
    finally:
        connection.close()
