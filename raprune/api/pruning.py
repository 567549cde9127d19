"""``prune``: one trial on a network and data that are objects of the program."""

from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from raprune.api.boxes import as_rows, family_of, normalised
from raprune.api.network import own_copy
from raprune.api.reading import Images, class_names_of, read_split, what_it_is
from raprune.api.report import Report
from raprune.api.running import evaluators_for, folder_for, run, same_threads
from raprune.api.splitting import joined
from raprune.artefact.trials import open_trial
from raprune.engine.given import digest_of_data, digest_of_network
from raprune.engine.inputs import Given, Inputs
from raprune.errors import InputError, RapruneError, translated
from raprune.network.graph import Traced, trace
from raprune.network.graph.ambient import plain_torch
from raprune.plugins.datasets.base import VOID, Split
from raprune.preflight.checks import expand_and_inspect
from raprune.registry import SCORES, given_name
from raprune.results import TrialStore, read_study
from raprune.study import Document, StudyPlan, TrialSpec, document_of, expand
from raprune.study.overrides import merge
from raprune.study.plugins import plugin_name
from raprune.system.paths import given_path

if TYPE_CHECKING:
    from raprune.api.verifying import Verification
    from raprune.export.exporting import Exported

_ALONE = threading.RLock()
CALLER = "prune()"
"""What messages call the study."""
DETECTION = "mean_average_precision"
DEFAULT_SCORES = {"image": "top1_accuracy", "pixel": "mean_iou", "target": "psnr", "boxes": DETECTION}
GIVEN_HERE = ("model", "dataset", "baseline", "sweep", "rehearsal")
"""Keys of a study file that ``settings`` may not have."""
Setting = str | Mapping[str, Any]
"""A plug-in's name, or a mapping with its ``name`` and settings; or a mapping of settings."""


@dataclass(frozen=True, eq=False)
class Pruned:
    """The smaller network, and its report."""

    network: nn.Module
    """In eval mode, on the CPU: a ``torch.fx.GraphModule`` whose submodules and tensors have the names of yours."""
    report: Report
    trial_dir: Path
    """Its rows, weights (``model/``) and states."""
    _given: Given = field(repr=False)

    @property
    def out(self) -> Path:
        """The study's folder: ``raprune report`` takes it, and so does ``out=`` of the same call."""
        return self.trial_dir.parent.parent

    def export(
        self, file: str | PathLike[str], format: str | None = None, *, int8: bool = False, force: bool = False
    ) -> Exported:
        """Write the network to a file that runs without raprune; docs/export.md explains the formats.

        ``format`` is ``pt2``, ``onnx`` or ``safetensors``, by default what the file's name ends in. Its logits and
        scores are compared with the network's before the file gets its name. Raises :class:`InputError` and
        :class:`raprune.errors.RapruneError`.
        """
        from raprune.export.exporting import Wanted, export_trial, format_for

        out = given_path(file)
        with translated(), Inputs() as inputs, same_threads():
            inputs.give(self._given)
            return export_trial(
                self.trial_dir,
                Wanted(format or format_for(out), out, int8, force),
                allow_import=True,
                inputs=inputs,
            )

    def verify(self, share: float = 0.01, seed: int = 0) -> Verification:
        """Score ``share`` of the candidates again, here, on the naive engine, and all that was committed.

        ``seed`` is that of the draw. docs/verify.md says what is checked, and what a difference means. Raises
        :class:`InputError` where nothing can be verified.
        """
        from raprune.api.verifying import verified

        with translated(), same_threads(), plain_torch():
            return verified(self.trial_dir, self._given, share, seed)

    def __str__(self) -> str:
        return str(self.report)

    def _repr_html_(self) -> str:
        """As notebooks show it."""
        return self.report._repr_html_()


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Run calls of several threads one after another: torch's generator and thread count belong to the process."""
    with _ALONE, plain_torch():
        yield


@_alone()
@translated()
def prune(
    model: nn.Module,
    train: Images,
    val: Images,
    drop_bound: float | None = 2.0,
    *,
    test: Images | None = None,
    layers: str | Sequence[str] | None = None,
    order: Setting | None = None,
    method: Setting | None = None,
    preset: str | None = None,
    score: Setting | None = None,
    finetune: Mapping[str, Any] | None = None,
    fidelity: Mapping[str, Any] | None = None,
    residual: str | None = None,
    guard: float | None = None,
    warranty: float | None = None,
    seed: int | None = None,
    whole: Sequence[str] = (),
    output: str | int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    ignore_index: int = VOID,
    shift: int = 0,
    flip: bool = False,
    out: str | Path | None = None,
    evaluators: int = 0,
    address: str | None = None,
    progress: bool = True,
    settings: Mapping[str, Any] | None = None,
) -> Pruned:
    """Prune ``model`` as far as ``drop_bound`` points of validation score allow.

    ``train``, ``val`` and ``test`` are data sets of (image, label), loaders of them, or pairs of tensors. Float images
    are used as they are; uint8 ones are scaled to [0, 1] and normalised by ``mean`` and ``std``. Each is read once:
    what a data set draws at random is drawn once. ``shift`` (pixels) and ``flip`` move training images anew in every
    step. Labels are one class per image, or one per pixel (``ignore_index`` where there is none); or boxes, with
    ``score="mean_average_precision"`` or a one-stage detection network of torchvision (docs/detection.md).

    ``layers``, ``order``, ``method``, ``preset``, ``score``, ``finetune``, ``fidelity``, ``residual``, ``guard``,
    ``warranty`` and ``seed`` are the keys of a study file, ``whole`` and ``output`` those of its model; any other key
    goes into ``settings``, which override the other arguments. ``out`` is the study's folder, created if need be and
    kept: the same call resumes from what it contains. By default it is a temporary one, which ``report.folder`` names;
    raprune never removes it. ``evaluators`` processes of Ray score candidates, on the
    cluster at ``address`` if there is one; 0 scores in this process.

    The baseline is ``model`` with the weights that it has; it is never changed. Raises :class:`InputError` for what
    cannot be used and :class:`RapruneError` where the trial fails.
    """
    arguments = {
        "layers": layers, "order": order, "method": method, "preset": preset, "score": score, "finetune": finetune,
        "fidelity": fidelity, "residual": residual, "seed": seed, "drop_bound": drop_bound, "guard": guard,
        "warranty": warranty,
    }  # fmt: skip
    study = merge({key: value for key, value in arguments.items() if value is not None}, _checked(settings))
    study["model"] = {"whole": list(whole)} | ({} if output is None else {"output": output})
    study["dataset"] = {"shift": shift, "flip": flip}
    network, count = own_copy(model), evaluators_for(evaluators, address)
    if (family := family_of(network)) is not None:
        study["score"] = _score_of(family, study.get("score"))
    names = given_name(type(network).__name__), given_name(what_it_is(train))
    expand(_document(study, names, ("", "")))  # what is wrong there is reported before any image is read
    parts = {"train": train, "val": val} | ({} if test is None else {"test": test})
    labels_are = _labels_of(study.get("score"))
    found = {name: read_split(images, name, ignore_index, labels_are) for name, images in parts.items()}
    if family is not None:
        network, found, mean, std = _as_plain(network, family, found, mean, std)
    traced = _trace(network, found["train"], whole, output)
    num_classes = _num_classes(traced, study.get("score") if found["val"].kind == "boxes" else None)
    splits = joined(found, num_classes, mean, std, class_names_of(train, num_classes))
    study.setdefault("score", DEFAULT_SCORES[splits.val.kind])
    digests = digest_of_network(traced), digest_of_data(splits)
    given = Given(*digests, network, splits)
    with Inputs() as inputs:
        inputs.give(given)
        plan, facts = expand_and_inspect(_document(study, names, digests), inputs)
        trial, folder = _only(plan), folder_for(out)
        run(plan, facts, folder, inputs, evaluators=count, address=address, progress=progress)
        return _opened(TrialStore(folder, plan.spec.name, trial.trial_id), given, inputs)


def _document(study: Mapping[str, Any], names: tuple[str, str], digests: tuple[str, str]) -> Document:
    """The study file of ``study``, whose model and dataset go by name and digest."""
    parts = zip(("model", "dataset"), names, digests, strict=True)
    given = {key: {"import": name, "digest": digest, **study[key]} for key, name, digest in parts}
    return document_of({"name": "prune", **study, **given}, CALLER)


def _checked(settings: Mapping[str, Any] | None) -> dict[str, Any]:
    """``settings`` without what the arguments say."""
    if not isinstance(settings, Mapping | None):
        raise InputError(f"settings: must be a mapping of a study file's keys; got {type(settings).__name__}")
    for key in settings or {}:
        if key in GIVEN_HERE:
            raise InputError(
                f"settings: {key} cannot be set here: model and data are the objects passed in, the baseline is "
                "the network as it is, and there is one trial; raprune.api.run_study runs a study file"
            )
    return dict(settings or {})


def _labels_of(score: Any) -> str | None:
    """The kind of labels that a score takes, where its name tells."""
    name = plugin_name(score)
    return SCORES.get(name).declared["labels"] if name in SCORES.names() else None


def _trace(network: nn.Module, train: Split, whole: Sequence[str], output: str | int | None) -> Traced:
    shape = tuple(train.images_BCHW.shape[1:])
    try:
        traced = trace(copy.deepcopy(network), shape, whole=whole, output=output)
    except InputError as error:
        raise InputError(f"model: {error}") from error
    if not traced.graph.groups:
        raise InputError(f"model: {traced.graph.nothing()}")
    return traced


def _score_of(family: str, score: Any) -> Any:
    """The score of a detection network of torchvision, whose family is known."""
    given = {"name": DETECTION} if score is None else {"name": score} if isinstance(score, str) else score
    is_usual = isinstance(given, Mapping) and given.get("name") == DETECTION
    return {"head": family, **given} if is_usual else score


def _as_plain(
    network: Any, family: str, found: dict[str, Split], mean: Sequence[float] | None, std: Sequence[float] | None
) -> tuple[nn.Module, dict[str, Split], Sequence[float] | None, Sequence[float] | None]:
    """A detection network of torchvision as a plain one, whose images come normalised as it normalises them."""
    transform, images = network.transform, found["train"].images_BCHW
    if images.is_floating_point():
        found = {name: normalised(split, transform) for name, split in found.items()}
    elif mean is None and std is None:
        mean, std = transform.image_mean, transform.image_std
    channels, height, width = images.shape[1:]
    return as_rows(network, family, (channels, height, width)), found, mean, std


def _num_classes(traced: Traced, score: Any = None) -> int:
    """Classes of the network's output: its channels, or what the columns of boxes that ``score`` takes leave."""
    last = next(node for node in traced.network.graph.nodes if node.op == "output")
    shape = tuple(last.all_input_nodes[0].meta["tensor_meta"].shape)
    if len(shape) < 2:
        raise InputError(f"model: must return (B, classes) or (B, classes, H, W); returns {shape} for two images")
    if score is None:
        return int(shape[1])
    settings = {} if isinstance(score, str) else {key: value for key, value in score.items() if key != "name"}
    number = shape[2] - SCORES.build(str(plugin_name(score)), settings).num_columns(0) if len(shape) == 3 else 0
    if number < 2:
        raise InputError(f"model: must return (B, anchors, columns), as docs/detection.md says; returns {shape}")
    return int(number)


def _only(plan: StudyPlan) -> TrialSpec:
    if len(plan.trials) != 1:
        number = len(plan.trials)
        raise InputError(
            f"{CALLER} runs one trial; this is {number}: raprune.api.run_study runs them from a study file"
        )
    return plan.trials[0]


def _opened(store: TrialStore, given: Given, inputs: Inputs) -> Pruned:
    """The result of the ended trial; raises :class:`RapruneError` where it has no network."""
    row = store.trial_row()
    if row is None or row["params"] is None:
        error = (row or {}).get("error") or "it did not end"
        raise RapruneError(f"{CALLER}: {error.splitlines()[0]} (all of it: {store.folder / 'error.txt'})")
    network = open_trial(store.folder, allow_import=True, inputs=inputs).networks["pruned"]
    folder = store.folder.parent.parent
    tables = read_study(folder, ["layers", "joint"])
    return Pruned(network, Report(row, tables.layers, folder, tables.joint), store.folder, given)
