"""Exports a trial's network to a file, checked before it gets its final name."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from raprune.artefact.plan import PLAN_FILE
from raprune.artefact.trials import TrialNetworks, open_trial
from raprune.engine.inputs import Inputs, using
from raprune.errors import FileError, InputError, meaning
from raprune.export.checking import TOLERANCE, Difference, ExportError, Images, Measured, compare, parity, scores_of
from raprune.export.contract import Format, QuantisedFormat
from raprune.export.refusals import Refused
from raprune.registry import FORMATS, is_imported, nearest
from raprune.study.allowing import AllowImport
from raprune.system.writing import aside_of, replacing, replacing_folder

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Quantised:
    """The 8-bit network's results; the float network is the one checked against raprune's."""

    float_bytes: int
    scores: Mapping[str, float]
    """Split -> score."""
    num_images: int
    """Calibration images."""


@dataclass(frozen=True)
class Exported:
    """A file that was written, and how it compares."""

    file: Path
    num_bytes: int
    loaded_by: str
    """The expression that loads it."""
    note: str | None
    """What users should know about how it was written."""
    differences: Mapping[int, Difference]
    """By batch size."""
    checked_on: str
    """The images it was checked on, in words."""
    scores: tuple[Measured, ...]
    """Empty if the study's data are not available."""
    quantised: Quantised | None
    """``None`` where it was not asked for."""


@dataclass(frozen=True)
class Wanted:
    """The file that an export is to write."""

    format_name: str
    file: Path
    quantised: bool = False
    """With 8-bit weights and activations."""
    force: bool = False
    """Replace a file that is there."""

    def options(self) -> str:
        """What a person types after the trial's folder to ask for it."""
        switches = " --int8" * self.quantised + " --force" * self.force
        return f" --format {self.format_name} --out {shlex.quote(str(self.file))}{switches}"


def format_for(out: Path) -> str:
    """The format that the name of ``out`` ends in; raises :class:`InputError` where it is none."""
    suffix = out.suffix.removeprefix(".").lower()
    if suffix not in FORMATS.names():
        raise InputError(f"{out}: its name does not say in which format: name it (known: {', '.join(FORMATS.names())})")
    return suffix


def export_trial(
    folder: Path,
    wanted: Wanted,
    *,
    allow_import: AllowImport = (),
    tell: Tell = lambda _: None,
    inputs: Inputs | None = None,
) -> Exported:
    """Write the network of the trial in ``folder``; ``tell`` receives each step in words.

    The trial's files may name code to import: ``allow_import`` lists the import paths allowed, or is True for all.

    Raises :class:`InputError` for an invalid request, and :class:`ExportError` if the file's logits or decisions differ
    from the network's; then, as after any failure, an existing file is unchanged.
    """
    _check_request(wanted, folder)
    with using(inputs) as inputs:
        trial = open_trial(folder, "export", allow_import, ("model", "dataset", "score"), inputs, wanted.options())
        tell("loading the study's images")
        return _export(trial, Images(trial, inputs), wanted, tell)


def _export(trial: TrialNetworks, images: Images, wanted: Wanted, tell: Tell) -> Exported:
    format_name, out, quantised = wanted.format_name, wanted.file, wanted.quantised
    torch.set_num_threads(trial.scoring.threads)
    float_file = out.with_name(aside_of(out.name))
    try:
        with (replacing_folder if FORMATS.get(format_name).declared["is_folder"] else replacing)(out) as aside:
            exported = _write(trial, images, format_name, out, float_file if quantised else aside, tell)
            if quantised:
                exported = _quantise(trial, images, exported, format_name, float_file, aside, tell)
    except (OSError, FileError) as error:
        why = meaning(error) if isinstance(error, OSError) else str(error).partition(": ")[2]
        raise InputError(f"{out} cannot be written: {why}") from error
    except Refused as error:
        raise InputError(f"trial {trial.store.folder.name} is not exported: {error}") from error
    finally:
        float_file.unlink(missing_ok=True)
    return exported


def _check_request(wanted: Wanted, folder: Path) -> None:
    format_name, out = wanted.format_name, wanted.file
    if format_name not in FORMATS.names():
        raise InputError(f"no format is called {format_name!r}{nearest(format_name, FORMATS.names())}")
    able = [plugin.name for plugin in FORMATS if plugin.declared["quantises"]]
    if wanted.quantised and format_name not in able:
        which = " or ".join(able)
        raise InputError(f"int8 is for the format {which}; {format_name} is written in the network's own precision")
    if not out.parent.is_dir():
        raise InputError(f"{out.parent} is not a folder: {out.name} cannot be written there")
    if not os.access(out.parent, os.W_OK):
        raise InputError(f"{out.parent} is not writable")
    trials = folder.resolve().parent
    if trials.name == "trials" and out.resolve().is_relative_to(trials):
        raise InputError(f"{out} lies among the study's own trial files; choose a file elsewhere")
    if FORMATS.get(format_name).declared["is_folder"]:
        _check_folder(out, wanted.force)
    elif out.is_dir():
        raise InputError(f"{out} is a folder; name a file")
    elif out.exists() and not wanted.force:
        raise InputError(f"{out} exists; --force (in Python force=True) replaces it")


def _check_folder(out: Path, force: bool) -> None:
    """Only a folder that an export wrote is ever replaced."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; name a folder")
    if not out.exists() or not any(out.iterdir()):
        return
    if not (out / "modeling.py").is_file() or not (out / PLAN_FILE).is_file():
        raise InputError(f"{out} holds other files than those of an export; name a new folder")
    if not force:
        raise InputError(f"{out} exists; --force (in Python force=True) replaces it")


def _format(name: str) -> Format:
    chosen: Format = FORMATS.build(name, {})
    return chosen


def _write(trial: TrialNetworks, images: Images, format_name: str, out: Path, aside: Path, tell: Tell) -> Exported:
    """Write the network to the file ``aside`` and compare it with the one in raprune."""
    network, chosen = trial.networks["pruned"], _format(format_name)
    tell(f"writing {format_name}")
    example_BCHW = torch.zeros(2, *trial.input_shape, dtype=images.dtype)
    note = chosen.write(network, example_BCHW, trial.plan.to_ship(), aside)
    run = chosen.load(aside, trial.scoring.threads, images.inputs)
    tell("comparing logits")
    differences = parity(trial, run, images)
    largest = max(difference.judged for difference in differences.values())
    if largest > TOLERANCE:
        raise ExportError(
            f"{out} is not written: as {format_name} its logits differ from the network's by {largest:.1e} of "
            f"the largest, more than {TOLERANCE:.0e}"
        )
    tell("scoring")
    scores = tuple(compare(trial, run, images))
    for measured in scores:
        if measured.wrong > measured.allowed:
            raise ExportError(
                f"{out} is not written: as {format_name} it makes {measured.wrong} other decisions than the network "
                f"on the {measured.split} split, ties aside"
            )
    chosen.describe(aside, trial.plan.to_ship(), trial.row)
    on = "random images" if images.splits is None else f"validation images of {trial.plan.dataset.name}"
    if images.missing is not None:
        on += f" (the study's are not available, so nothing is scored: {images.missing})"
    allowed = f", allow_import=[{trial.plan.model.name!r}]" if is_imported(trial.plan.model.name) else ""
    loaded_by = chosen.loaded_by.format(file=str(out), allowed=allowed)
    return Exported(out, _size(aside), loaded_by, note, differences, on, scores, None)


def _size(written: Path) -> int:
    files = written.iterdir() if written.is_dir() else [written]
    return sum(file.stat().st_size for file in files)


def _quantise(
    trial: TrialNetworks,
    images: Images,
    exported: Exported,
    format_name: str,
    float_file: Path,
    aside: Path,
    tell: Tell,
) -> Exported:
    """Write the 8-bit network to the file ``aside`` and score it."""
    chosen = _format(format_name)
    assert isinstance(chosen, QuantisedFormat)
    tell("calibrating 8 bits")
    number = chosen.quantise(float_file, images, trial.scoring.batch_size, trial.plan.to_ship(), aside)
    tell("scoring 8 bits")
    run = chosen.load(aside, trial.scoring.threads, images.inputs)
    result = Quantised(exported.num_bytes, scores_of(trial, run, images), number)
    return replace(exported, num_bytes=aside.stat().st_size, quantised=result)
