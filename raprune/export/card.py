"""The model card of an exported network: what was pruned, what it costs, how to load it. Markdown, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from raprune.artefact.plan import NetworkPlan


def card(plan: NetworkPlan, row: Mapping[str, Any]) -> str:
    """The card of the network that ``plan`` describes; ``row`` is its trial's."""
    lines = [*_front(row), *_summary(plan, row), *_scores(plan, row), *_layers(plan), *_use(plan)]
    return "\n".join(lines) + "\n"


def _front(row: Mapping[str, Any]) -> Iterator[str]:
    yield from ("---", "library_name: pytorch", "tags:", "- pruning", "- raprune")
    if row["score_name"] == "top1_accuracy":
        yield "pipeline_tag: image-classification"
    yield from ("---", "")


def _summary(plan: NetworkPlan, row: Mapping[str, Any]) -> Iterator[str]:
    kept, filters = sum(plan.num_kept.values()), sum(plan.num_filters.values())
    yield f"# {_code(plan.model.name)}, pruned"
    yield ""
    yield (
        f"raprune removed {1 - kept / filters:.1%} of the filters of the layers below from {_code(plan.model.name)}, "
        f"trained on {_code(plan.dataset.name)} (method {_code(row['method'])}, trial "
        f"{_code(plan.trial_id)} of the study {_code(plan.study)})."
    )
    yield ""
    yield "| | before | after | less |"
    yield "|---|---|---|---|"
    for name, before, after in (
        ("filters", filters, kept),
        ("parameters", row.get("baseline_params"), plan.params),
        ("multiply-adds for one image", row.get("baseline_macs"), plan.macs),
    ):
        if before and after:
            yield f"| {name} | {before:,} | {after:,} | {1 - after / before:.1%} |"
    yield ""


def _scores(plan: NetworkPlan, row: Mapping[str, Any]) -> Iterator[str]:
    unit = plan.score.unit or ""
    yield f"## Scores ({_code(plan.score.name)}, {unit})"
    yield ""
    yield "| split | images | before | after | drop |"
    yield "|---|---|---|---|---|"
    for split, images in (("val", row.get("num_val_images")), ("guard", row.get("num_guard_images")), ("test", None)):
        before, after = row.get(f"baseline_{split}_score"), row.get(f"{split}_score")
        if before is not None and after is not None:
            yield f"| {split} | {images or ''} | {before:.2f} | {after:.2f} | {before - after:+.2f} |"
    yield ""
    yield "A minus is a gain. The network was chosen by its validation score, so the test score is the one to expect."
    if row.get("drop_bound") is not None:
        yield f"The drop on validation was bound to {row['drop_bound']:g} points."
    if row.get("score_drop_limit") is not None:
        limit = f"{row['score_drop_limit']:.2f} points"
        yield f"On new images the drop is at most {limit}, with a confidence of 95% (one-sided, measured on the guard)."
    else:
        yield "No guard measured how much it may lose on new images; the splits above are samples."
    yield ""


def _layers(plan: NetworkPlan) -> Iterator[str]:
    yield from ("## Layers", "", "| layer | filters before | after |", "|---|---|---|")
    for layer, number in plan.num_filters.items():
        yield f"| {_code(layer)} | {number} | {plan.num_kept.get(layer, number)} |"
    for layer, factor in plan.factors.items():
        yield f"| {_code(layer)} | replaced by two layers ({factor.scheme}) | rank {factor.rank} |"
    yield ""


def _use(plan: NetworkPlan) -> Iterator[str]:
    said = plan.preprocessing
    yield from ("## Use", "", "With torch and safetensors installed, in this folder:", "", "```python")
    yield from ("import torch", "from modeling import load", "", 'network = load(".")', "with torch.inference_mode():")
    yield from ("    logits = network(images)", "```", "")
    channels, height, width = plan.input_shape
    yield f"`images` are float32, (images, {channels}, {height}, {width})."
    if said is not None and said.mean:
        yield f"Input from pixels: {said.formula}; mean {list(said.mean)}, std {list(said.std)}."
    yield (
        "The network computes what it computes in evaluation mode: norms use their stored statistics, dropout is off. "
        "`plan.json` has all keep masks."
    )


def _code(text: object) -> str:
    """``text`` as code in Markdown, in one line and without marks of its own."""
    return f"`{' '.join(str(text).replace('`', '').replace('|', '/').split())}`"
