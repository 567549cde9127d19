"""A study's metrics: what is counted, that the Grafana dashboard draws it, and that a real Ray serves it."""

from __future__ import annotations

import importlib.util
import json
import re
import urllib.request
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from raprune.errors import InputError
from raprune.launch import run_study
from raprune.launch.cluster import connect
from raprune.launch.metrics import COUNTERS, GAUGES, Gauged, Metered, dashboard_address
from raprune.network.state import ALL_LAYERS
from raprune.results import read_study
from raprune.study.parts import EvaluatorsSpec
from tests.launch.runs import Watch, begin
from tests.launch.told import plan_of
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


def test_a_share_of_nothing_is_drawn_as_nothing() -> None:
    """Ray exports a counter from its first count on: where the memo answers everything, nothing was ever scored."""
    dashboard = json.loads((ROOT / "docs" / "deploy" / "grafana.json").read_text())
    shares = [p["targets"][0]["expr"] for p in dashboard["panels"] if p["fieldConfig"]["defaults"]["unit"] != "none"]
    assert len(shares) == 2
    for share in shares:
        above, _, below = share.rpartition(" / ")
        assert above.removeprefix("1 - ").startswith("(")
        assert above.endswith(f" or 0 * {below})")


def test_every_candidate_of_a_trial_has_its_images_counted(small_study: tuple[Path, Path], tmp_path: Path) -> None:
    """Those of its order and of its joint pass, too; a joint pass is no layer."""
    begin(small_study[1], tmp_path)
    joint = "postprocess={joint: {candidates: 6, passes: 1, proposals: 2}}"
    plan = plan_of(tmp_path, changes=(joint, "sweep={}", "method=magnitude", "order=by_sensitivity"))
    told: list[dict[str, float]] = []

    class Listening(Watch):
        def told(self, trial_id: str, progress: dict[str, Any]) -> None:
            told.append({key: value for key, value in progress.items() if key.startswith(("new_", "val_images"))})
            super().told(trial_id, progress)

    assert run_study(plan, tmp_path / "out", Listening(), num_evaluators=0).exit_code == 0
    row = read_study(tmp_path / "out").trials.iloc[0]
    asked = [news for news in told if "new_candidates" in news]
    assert row["num_order_candidates"] > 0
    assert sum(news["new_candidates"] for news in asked) == row["num_candidates"] + row["num_order_candidates"]
    assert sum(news["new_images"] for news in asked) == row["images_scored"]
    assert {news["val_images"] for news in asked} == {row["num_val_images"]}


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
    metered.told("a", {"committed_pruning_ratio": 0.5, "layer": "features.0"})
    metered.told("a", {"committed_pruning_ratio": 0.5, "layer": ALL_LAYERS})
    metered.ended("a", "completed", Path())
    assert counted == {
        "raprune_candidates": 4, "raprune_scored": 3, "raprune_images": 250,
        "raprune_images_saved": 150, "raprune_score_seconds": 1.5, "raprune_layers": 1, "raprune_trials completed": 1,
    }  # fmt: skip
    assert (watch.commits, watch.statuses) == (2, {"a": "completed"})
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
