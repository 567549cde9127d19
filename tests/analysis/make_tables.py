"""Small studies made by hand: rows of every table from the schemas, without a network."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from PIL import Image

from raprune.results import SCHEMA_VERSION, SCHEMAS, Tables, TrialStore, write_json
from tests.analysis.make_pictures import png, png_map

STUDY = "made"
LAYERS = ("features.0", "features.3", "features.7")
NUM_FILTERS = 10

Row = dict[str, Any]


def trial_row(trial_id: str, **changes: Any) -> Row:
    """A completed trial that keeps 6 of 10 filters of each layer within a drop bound of 2."""
    row: Row = dict.fromkeys(SCHEMAS["trial"].names)
    row |= {
        "study": STUDY,
        "trial_id": trial_id,
        "status": "completed",
        "seed": 0,
        "baseline_seed": 0,
        "preset": "default",
    }
    for kind, name in (("model", "vgg16"), ("dataset", "digits"), ("method", "agent"), ("order", "low_to_high")):
        row |= {kind: name, f"{kind}_settings": "{}"}
    for name in ("reward", "baseline", "finetune", "scoring"):
        row[f"{name}_settings"] = "{}"
    row |= {"reward": "bounded_log", "residual": "independent", "layers": "all", "fidelity": "forward only"}
    row |= {"drop_bound": 2.0, "baseline_key": "b0", "score_name": "top1_accuracy", "num_val_images": 500}
    row |= {"score_unit": "percent"}
    row |= {"baseline_val_score": 99.0, "baseline_finetuned_val_score": 99.2, "baseline_test_score": 98.0}
    row |= {"val_score": 98.0, "test_score": 96.5, "val_score_drop": 1.0, "test_score_drop": 1.5}
    row |= {"num_layers": 3, "num_layers_whole": 0, "num_filters": 30, "num_kept": 18, "pruning_ratio": 0.4}
    for name, before, after in (("params", 1000, 250), ("macs", 8000, 4000), ("model_bytes", 4000, 1000)):
        row |= {f"baseline_{name}": before, name: after}
    row |= {"num_candidates": 1234, "num_scored": 1000, "images_scored": 56700}
    row |= {"wall_time_s": 12.0, "evaluators": 0, "device": "cpu"}
    return row | changes


def factorised_row(trial_id: str, **changes: Any) -> Row:
    """A trial whose pruned network of 250 parameters, of 1000, was factorised to 100."""
    low_rank = json.dumps({"low_rank": {"schemes": ["svd", "separable"], "ratio": 0.5}})
    before = {"params_before_low_rank": 250, "macs_before_low_rank": 4000, "model_bytes_before_low_rank": 1000}
    after = {"params": 100, "macs": 2000, "model_bytes": 400, "postprocess_settings": low_rank}
    return trial_row(trial_id, **before, **after, val_score_before_low_rank=98.5) | changes


def unfinished_row(trial_id: str, status: str, error: str | None, **changes: Any) -> Row:
    """A trial that failed or was stopped: all that is measured is null."""
    known = {"study", "trial_id", "seed", "baseline_seed", "preset", "model", "dataset", "method", "order", "reward"}
    known |= {"residual", "layers", "fidelity", "drop_bound", "baseline_key", "score_name", "score_unit"}
    known |= {"matched_trial_id"}
    row = {k: v if k in known or k.endswith("_settings") else None for k, v in trial_row(trial_id).items()}
    return row | {"status": status, "error": error} | changes


def layer_row(trial_id: str, index: int, **changes: Any) -> Row:
    """A decided layer that keeps 6 of its 10 filters."""
    row: Row = dict.fromkeys(SCHEMAS["layers"].names)
    row |= {"study": STUDY, "trial_id": trial_id, "layer": LAYERS[index], "layer_index": index, "role": "conv"}
    row |= {"prune_step": index, "num_filters": NUM_FILTERS, "num_kept": 6, "pruning_ratio": 0.4}
    row |= {
        "keep_mask": [True] * 6 + [False] * 4,
        "cut_val_score": 97.5,
        "pruned_val_score": 98.0,
        "finetuned_val_score": 98.5,
    }
    return row | {"params": 600, "macs": 5000, "num_updates": 3, "wall_time_s": 1.0} | changes


def seen_filters(keep_probs: Sequence[float] | None = None, drawn: bool = False) -> Row:
    """The columns of a layer that have a value for each filter: norms 1 to 10, ranked the other way round."""
    row: Row = {"filter_shape": [1, 2, 2], "filter_norms": [*range(1, 11)], "filter_places": [*range(10)]}
    return row | {"keep_probs": keep_probs, "filter_weights": [*range(-20, 20)] if drawn else None}


def joint_row(trial_id: str, step: int, **changes: Any) -> Row:
    """A joint pass that takes away one of 18 kept filters."""
    row: Row = dict.fromkeys(SCHEMAS["joint"].names) | {"study": STUDY, "trial_id": trial_id, "joint_step": step}
    row |= {"num_filters": 30, "num_kept_before": 18 - step, "num_kept": 17 - step, "drop_allowance": 2.0}
    row |= {"keep_mask": [True] * (17 - step) + [False] * (13 + step), "finetuned_val_score": 97.5}
    return row | {"cut_short": False, "wall_time_s": 1.0} | changes


def low_rank_row(trial_id: str, step: int, **changes: Any) -> Row:
    """A layer that was factorised at rank 3."""
    row: Row = dict.fromkeys(SCHEMAS["low_rank"].names) | {"study": STUDY, "trial_id": trial_id, "layer": LAYERS[step]}
    row |= {"layer_index": step, "step": step, "scheme": "svd", "rank": 3, "energy": 0.9, "applied": True}
    return row | {"params_before": 100, "params_after": 60} | changes


def update_row(trial_id: str, layer: str, update: int, **changes: Any) -> Row:
    """An update whose masks earn 0.1 times its number."""
    row: Row = {"study": STUDY, "trial_id": trial_id, "layer": layer, "update": update}
    row |= {"reward_mean": 0.1 * update, "reward_std": 0.0, "reward_max": 0.1 * update, "score_mean": 98.0}
    return row | {"pruning_ratio_mean": 0.3, "policy_entropy": 0.5} | changes


def candidate_row(trial_id: str, layer: str, sample: int, **changes: Any) -> Row:
    """A scored mask of the first update."""
    row: Row = {"study": STUDY, "trial_id": trial_id, "layer": layer, "update": 0, "sample": sample}
    row |= {"keep_mask": [True] * 6 + [False] * 4, "score": 98.0, "reward": 0.1, "from_memo": False}
    return row | {"images_scored": 500, "evaluator": "here", "score_s": 0.01, "scored_at": 1.7e9 + sample} | changes


def picture_row(trial_id: str, kind: str, place: int, classes: Sequence[int] = (0, 1, 2), **changes: Any) -> Row:
    """An image of 4 x 6 pixels whose label map has ``classes`` in turn and whose pixels are all right."""
    row: Row = {"study": STUDY, "trial_id": trial_id, "kind": kind, "place": place, "image_index": 10 + place}
    row |= {"baseline_global_accuracy": 80.0, "pruned_global_accuracy": 82.5, "change": 2.5}
    row["image"] = png(Image.new("RGB", (6, 4), (200, 100, 50)))
    return row | dict.fromkeys(("label", "baseline", "pruned"), png_map(classes)) | changes


def speed_rows(trial_id: str, old_s: float = 0.02, new_s: float = 0.01, **changes: Any) -> list[Row]:
    """Both networks on one device, backend and batch size: twice as fast with half the multiply-adds."""
    row: Row = {"study": STUDY, "trial_id": trial_id, "device": "cpu", "backend": "eager", "batch_size": 1}
    row |= {"threads": 1, "num_runs": 50, "peak_memory_bytes": None, "backend_version": "2.14.1", "host": "here"}
    sides = {"baseline": (8000, old_s), "pruned": (4000, new_s)}
    times = ("mean_s", "median_s", "lower_quartile_s", "upper_quartile_s")
    return [row | {"network": n, "macs": m} | dict.fromkeys(times, s) | changes for n, (m, s) in sides.items()]


def timeline_rows(evaluator: str, *busy: float, **changes: Any) -> list[Row]:
    """Shares of the time in which an evaluator was busy, in bins of four seconds; none for a share of 0."""
    row: Row = {"study": STUDY, "evaluator": evaluator, "width_s": 4.0}
    shares = enumerate(busy)
    return [row | {"start_s": 1.7e9 + 4 * place, "busy_s": 4 * share} | changes for place, share in shares if share]


def manifest(trials: Sequence[Row], **changes: Any) -> dict[str, Any]:
    """A manifest that plans ``trials``."""
    return {
        "study": STUDY,
        "description": "made by hand",
        "preset": "default",
        "schema_version": SCHEMA_VERSION,
        "trial_ids": [row["trial_id"] for row in trials],
        "axes": {row["trial_id"]: {"drop_bound": "2.0", "method": row["method"]} for row in trials},
        "raprune": "0.1.0",
        "commit": "0123456789abcdef",
        "python": "3.11.7",
        "packages": {"pandas": "3"},
        "command": ["raprune", "study", "studies/made.yaml"],
    } | changes


def make_tables(
    trials: Sequence[Row],
    layers: Sequence[Row] | None = None,
    updates: Sequence[Row] | None = None,
    pictures: Sequence[Row] = (),
    speed: Sequence[Row] = (),
    low_rank: Sequence[Row] = (),
    timeline: Sequence[Row] = (),
    **changes: Any,
) -> Tables:
    """Tables as :func:`raprune.results.read_study` gives them; each completed trial gets three layers and updates."""
    done = [row for row in trials if row["status"] == "completed"]
    if layers is None:
        layers = [layer_row(row["trial_id"], index) for row in done for index in range(len(LAYERS))]
    if updates is None:
        learned = [row["trial_id"] for row in done if row["method"] == "agent"]
        updates = [update_row(of, layer, update) for of in learned for layer in LAYERS for update in range(3)]
    return Tables(
        _frame("trial", trials), _frame("layers", layers), _frame("updates", updates), _frame("candidates", []),
        _frame("joint", []), _frame("low_rank", low_rank), _frame("pictures", pictures), _frame("speed", speed),
        manifest(trials, **changes), *([pd.DataFrame(timeline)] if timeline else []),
    )  # fmt: skip


def _frame(table: str, rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    return pa.Table.from_pylist([dict(row) for row in rows], schema=SCHEMAS[table]).to_pandas()


def grid(
    bounds: Sequence[float | None] = (1.0, 4.0),
    orders: Sequence[str] = ("low_to_high", "by_sensitivity"),
    methods: Sequence[str] = ("agent", "magnitude"),
    seeds: Sequence[int] = (0, 1),
    matched: Sequence[str] = ("random",),
    **changes: Any,
) -> list[Row]:
    """Every combination, and for every trial of the first method its matched ones, last as in a study."""
    rows, partners = [], []
    for bound in bounds:
        for order in orders:
            for method in methods:
                for seed in seeds:
                    name = f"{'free' if bound is None else bound}-{order}-{method}-{seed}"
                    pruned = 0.3 + 0.05 * (bound or 0) + 0.01 * seed
                    row = trial_row(name, drop_bound=bound, order=order, method=method, seed=seed, pruning_ratio=pruned)
                    rows.append(row | changes)
                    partners += [rows[-1]] if method == methods[0] else []
    for partner in partners:
        for method in matched:
            name = f"{partner['trial_id']}-{method}"
            own = {"trial_id": name, "method": method, "drop_bound": None, "matched_trial_id": partner["trial_id"]}
            rows.append(partner | own | {"val_score_drop": 6.0})
    return rows


def single_layers(methods: Sequence[str] = ("agent", "magnitude", "random"), **changes: Any) -> list[Row]:
    """Each layer decided alone by the first method, the others matched to it; the lost points are 1, 2, 3 ..."""
    rows = []
    for layer in LAYERS:
        for place, method in enumerate(methods):
            name = f"{layer}-{method}-{len(changes)}"
            own = {"layers": json.dumps([layer]), "method": method, "test_score_drop": 1.0 + place}
            partner = {"drop_bound": None, "matched_trial_id": f"{layer}-{methods[0]}-{len(changes)}"} if place else {}
            rows.append(trial_row(name, **own, **partner) | changes)
    return rows


def layers_of_singles(trials: Sequence[Row]) -> list[Row]:
    return [layer_row(row["trial_id"], LAYERS.index(json.loads(row["layers"])[0])) for row in trials]


def residual_layers(trial_id: str, *ratios: float) -> list[Row]:
    """Layers of a residual network: roles conv, conv1, conv2, shortcut, conv1, conv2, with these ratios."""
    roles = ("conv", "conv1", "conv2", "shortcut", "conv1", "conv2")
    names = ("conv1", "layer1.0.conv1", "layer1.0.conv2", "layer1.0.downsample.0", "layer1.1.conv1", "layer1.1.conv2")
    return [
        layer_row(trial_id, 0, layer=name, layer_index=index, prune_step=index, role=role, pruning_ratio=ratio)
        for index, (name, role, ratio) in enumerate(zip(names, roles, ratios, strict=True))
    ]


def write_study(folder: Path, tables: Tables) -> Path:
    """The study on disk, written as raprune writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "manifest.json", tables.manifest)
    for trial in _rows(tables.trials):
        store = TrialStore(folder, STUDY, trial["trial_id"])
        for layer in _rows(tables.layers, trial["trial_id"]):
            updates = [_own(u) for u in _rows(tables.updates, trial["trial_id"]) if u["layer"] == layer["layer"]]
            candidates = [_own(candidate_row(trial["trial_id"], layer["layer"], sample)) for sample in range(2)]
            store.write_layer(layer["prune_step"], _own(layer), updates, candidates)
        if pictures := _rows(tables.pictures, trial["trial_id"]):
            store.write_pictures([_own(row) for row in pictures])
        if speed := _rows(tables.speed, trial["trial_id"]):
            store.write_speed([_own(row) for row in speed])
        store.write_trial(_own(trial))
    return folder


def _rows(frame: pd.DataFrame, trial_id: str | None = None) -> list[Row]:
    found = frame if trial_id is None else frame[frame["trial_id"] == trial_id]
    return pa.Table.from_pandas(found, preserve_index=False).to_pylist()


def _own(row: Row) -> Row:
    return {key: value for key, value in row.items() if key not in ("study", "trial_id")}
