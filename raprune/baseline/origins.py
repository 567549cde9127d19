"""What baselines and trials were built from, by content: recorded when they begin, compared when they resume."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import fx

from raprune.engine.workload import Baseline
from raprune.errors import InputError
from raprune.identity import (
    Sources,
    differing,
    files_in,
    made_here,
    of_structure,
    of_tensors,
    of_training,
    of_value,
)
from raprune.plugins.datasets import contents
from raprune.plugins.datasets.base import Splits
from raprune.plugins.scores.base import Score, num_columns
from raprune.registry import is_imported
from raprune.results import TrialStore, write_json
from raprune.study.schema import TrialSpec
from raprune.study.seeds import digest

ORIGIN_FILE = "made_from.json"
"""File in a trial's folder: the content of the baseline that it prunes, and of the trial that it is matched to."""

SOME_IMAGES = {"image": 32, "pixel": 2, "target": 2, "boxes": 2}
"""Number of images on which a user's own score is fingerprinted, by the kind of its labels."""
SOME_ANCHORS = 16
"""Rows of the output for which a score of boxes is fingerprinted."""
TAKEN_OVER = ("layer", "num_kept", "applied", "scheme", "rank")
"""Columns of a trial's layers that a matched trial adopts."""


def sources_of(trial: TrialSpec, splits: Splits, score: Score, network: fx.GraphModule) -> Sources:
    """The current sources of the baseline of ``trial``; ``network`` is its initial network, traced."""
    spec, model = trial.baseline, trial.model
    own = frozenset(
        choice.name.partition(":")[0].partition(".")[0]
        for choice in (model, trial.dataset, trial.score)
        if is_imported(choice.name)
    )
    from_file = spec.checkpoint is not None or model.settings.get("pretrained", "none") != "none"
    code: list[Any] = [score, what_it_gives(score, splits)] if is_imported(trial.score.name) else []
    code += [splits.augment, what_it_does(splits)] if is_imported(trial.dataset.name) else []
    return Sources(
        network=of_structure(network, own) + of_training(network) if is_imported(model.name) else "",
        weights=of_tensors(network.state_dict()) if (is_imported(model.name) or from_file) else "",
        code=of_value(*code, own=own) if code else "",
        data=contents.of_data(splits),
        test=contents.of_test(splits),
        made_by=made_here(),
    )


def what_it_gives(score: Score, splits: Splits) -> list[str]:
    """Loss, counts, value and margins of a score for seeded logits and a few val labels; covers what it reads."""
    few = splits.val.take(torch.arange(min(SOME_IMAGES[splits.val.kind], len(splits.val))))
    labels_B, generator = few.labels_B, torch.Generator().manual_seed(0)
    shape = labels_B.shape if few.kind == "target" else (len(few), splits.num_classes, *labels_B.shape[1:])
    if few.kind == "boxes":
        shape = (len(few), SOME_ANCHORS, num_columns(score, splits.num_classes) or splits.num_classes)
    logits_BK = torch.randn(shape, generator=generator)
    try:
        whole, counts = score.whole(labels_B), score.counts(logits_BK, labels_B)
        floats = [float(score.loss(logits_BK, labels_B)), score.value(counts, whole)]
        floats += [float(margin) for margin in score.margins(logits_BK, labels_B)]
    except Exception as error:  # a score that fails on these inputs is reported where it is used
        return [type(error).__name__]
    return [of_value(whole, counts), *(f"{number:.4g}" for number in floats)]


def what_it_does(splits: Splits) -> str:
    """Fingerprint of a data set's augmentation of a few training images, with seeded draws; empty for float images."""
    few = splits.train.take(torch.arange(min(SOME_IMAGES["image"], len(splits.train))))
    if splits.augment is None or splits.normalised:
        return ""
    return of_value(*splits.augment(few.at(slice(None)), few.labels_B, torch.Generator().manual_seed(0)))


def before_sources(data_fingerprint: str, now: Sources) -> Sources:
    """The sources of a baseline of an earlier version: at most its images are known; all else equals ``now``."""
    silent = {"network": "", "weights": "", "code": "", "made_by": ""}
    return replace(now, data=data_fingerprint or now.data, **silent)


def other_content(what: str, trial: TrialSpec, parts: Collection[str]) -> str:
    """The message that ``what`` was built from content other than the current one of ``trial``, with the way out."""
    spec, model = trial.baseline, trial.model
    if spec.checkpoint is not None:
        weights = f"the checkpoint {spec.checkpoint!r} now has other weights"
    elif model.settings.get("pretrained", "none") != "none":
        weights = f"the weights from pretrained {str(model.settings['pretrained'])!r} have changed"
    else:
        weights = f"model {model.name} now builds it with other weights"
    files = files_in(trial.dataset.settings)
    from_files = f" ({', '.join(files)})" if files else ""
    data = f"data set {trial.dataset.name}{from_files} returns now"
    changes = {
        "network": f"model {model.name} now builds another network (its operations, modules or their settings)",
        "weights": weights,
        "code": f"score {trial.score.name}, or what data set {trial.dataset.name} does to training images, is now "
        "other code",
        "data": f"it was built on other images or labels of train and val than {data}",
        "test": f"it was built on other images, labels or class names of test than {data}",
    }
    own_data = is_imported(trial.dataset.name) and {"data", "test"} & set(parts)
    seeded = " (a data set of your own must return the same splits each time: seed them)" if own_data else ""
    listed = "; ".join(changes[part] for part in parts if part != "weights" or "network" not in parts)
    return f"{what} is out of date: {listed}{seeded}. Use another folder (--out), or restore what it was built from"


def note_origin(store: TrialStore, trial: TrialSpec, baseline: Baseline, matched: TrialStore | None) -> None:
    """Record what a trial prunes before it begins; raises :class:`InputError` if it began with other content."""
    check_origin(store, trial, baseline.sources, baseline.weights_fingerprint, matched)
    file = store.folder / ORIGIN_FILE
    if not file.is_file() and baseline.sources is not None:
        origin = {**baseline.sources.as_json(), "baseline": baseline.weights_fingerprint, "matched": _decided(matched)}
        store.make_folder()
        write_json(file, origin)


def check_origin(
    store: TrialStore, trial: TrialSpec, sources: Sources | None, baseline: str, matched: TrialStore | None
) -> None:
    """Check that a trial that has begun was built from ``sources`` and ``baseline`` (its fingerprint), where known.

    Raises :class:`InputError` if it was not.
    """
    origin = origin_of(store)
    if origin is None:
        return
    if sources is not None:
        certain, _ = differing(_sources(origin), sources)
        if certain:
            raise InputError(other_content(f"trial {store.folder}", trial, certain))
    anew = f"delete {store.folder} to run it again, or use another folder (--out)"
    if baseline and origin["baseline"] != baseline:
        raise InputError(f"trial {store.folder} was pruned from another baseline than the one now in its study: {anew}")
    if matched is not None and matched.status() == "completed" and origin["matched"] != _decided(matched):
        raise InputError(
            f"trial {store.folder} was matched to earlier decisions of trial {matched.folder.name}, which has run "
            f"again since and decided otherwise: {anew}"
        )


def origin_of(store: TrialStore) -> Mapping[str, Any] | None:
    """What a trial was built from; ``None`` if it has not begun, or was begun by an earlier version."""
    file = store.folder / ORIGIN_FILE
    if not file.is_file():
        return None
    try:
        origin: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        _sources(origin)
        return {"matched": None, **origin, "baseline": str(origin["baseline"])}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"{file} is damaged ({type(error).__name__}: {error}): delete {store.folder} to run its trial again"
        ) from None


def _sources(origin: Mapping[str, Any]) -> Sources:
    return Sources(**{name: str(origin[name]) for name in Sources.__dataclass_fields__})


def _decided(matched: TrialStore | None) -> str | None:
    """Digest of what a matched trial adopts from its partner."""
    if matched is None:
        return None
    rows = [*matched.layer_rows(), *matched.joint_rows(), *matched.low_rank_rows()]
    return digest([[row.get(name) for name in TAKEN_OVER] for row in rows])
