"""Wrong requests, networks that do not agree, missing files: an error message, and no file."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from torch import Tensor, fx, nn

from raprune.artefact import open_trial
from raprune.artefact.rebuilding import standalone
from raprune.engine.inputs import Inputs
from raprune.errors import InputError, MissingDataError
from raprune.export import exporting
from raprune.export.checking import Difference, ExportError, Images, compare, parity
from raprune.export.command import report_lines
from raprune.export.exporting import Exported, Quantised, Wanted, export_trial, format_for
from raprune.export.formats.safetensors import Safetensors
from raprune.export.running import Run
from raprune.registry import Settings
from tests.export.conftest import OwnTrial
from tests.export.trials import OWN, make_trial


def loaded_as(change: Callable[[Tensor], Tensor]) -> Callable[[Safetensors, Path, int, Inputs], Run]:
    """The safetensors loader with its logits changed."""
    as_written = Safetensors.load

    def load(self: Safetensors, file: Path, threads: int, inputs: Inputs) -> Run:
        run = as_written(self, file, threads, inputs)
        return lambda images_BCHW: change(run(images_BCHW).clone())

    return load


@pytest.fixture
def loading(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Tensor], Tensor]], None]:
    """Has safetensors files give other logits."""

    def change(how: Callable[[Tensor], Tensor]) -> None:
        monkeypatch.setattr(Safetensors, "load", loaded_as(how))

    return change


@pytest.mark.parametrize(
    ("format_name", "name", "options", "sentence"),
    [
        ("onyx", "x", {}, "no format is called 'onyx'; did you mean 'onnx'"),
        ("pt2", "x", {"quantised": True}, "int8 is for the format onnx; pt2 is written in"),
        ("pt2", "no/x", {}, "no is not a folder"),
        ("pt2", "folder", {}, "is a folder; name a file"),
        ("pt2", "there", {}, r"exists; --force \(in Python force=True\) replaces it"),
    ],
)
def test_what_cannot_be_is_told_first(
    tmp_path: Path, format_name: str, name: str, options: dict[str, bool], sentence: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "there").write_text("mine")
    with pytest.raises(InputError, match=sentence):
        export_trial(tmp_path / "no trial", Wanted(format_name, tmp_path / name, **options), allow_import=True)
    assert (tmp_path / "there").read_text() == "mine"


def test_a_trials_own_files_are_never_replaced(own_trial: OwnTrial) -> None:
    file = own_trial.folder / "model" / "model.safetensors"
    before = file.read_bytes()
    for out in (file, own_trial.folder / "net.pt2", own_trial.folder.parent / "net.pt2"):
        with pytest.raises(InputError, match="lies among the study's own trial files"):
            export_trial(own_trial.folder, Wanted("pt2", out, force=True), allow_import=True)
        assert out == file or not out.exists()
    assert file.read_bytes() == before


@pytest.mark.parametrize("format_name", ["pt2", "onnx", "safetensors"])
def test_a_file_that_cannot_be_written_is_told_as_such(own_trial: OwnTrial, format_name: str) -> None:
    """/proc takes no new files, whoever asks: root hears it when the file is opened."""
    with pytest.raises(InputError, match=r"^/proc.*cannot be written"):
        export_trial(own_trial.folder, Wanted(format_name, Path("/proc/net.x")), allow_import=True)


def test_a_file_is_replaced_only_by_force(own_trial: OwnTrial, tmp_path: Path) -> None:
    out = tmp_path / "net"
    out.write_text("mine")
    exported = export_trial(own_trial.folder, Wanted("safetensors", out, force=True), allow_import=True)
    assert exported.num_bytes == out.stat().st_size > 4
    allowed = ", allow_import=['tests.export.own:build']"
    assert exported.loaded_by == f"raprune.artefact.open_network(Path({str(out)!r}){allowed}).network"
    assert [file.name for file in tmp_path.iterdir()] == ["net"]


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        (lambda logits: logits + 2e-4 * logits.abs().max(), "differ from the network's by 2.0e-04 of"),
        (lambda logits: logits * float("nan"), "by inf of the largest, more than 1e-04"),
        (lambda logits: logits[:, :2], r"it returns \(1, 2\) for 1 image, the network \(1, 3\)"),
        (lambda logits: logits if len(logits) < 6 else logits.flip(1), "other decisions than the network on the val"),
    ],
)  # fmt: skip
def test_what_does_not_agree_is_not_left_behind(
    own_trial: OwnTrial, tmp_path: Path, loading: Callable[..., None], how: Callable[[Tensor], Tensor], sentence: str
) -> None:
    loading(how)
    out = tmp_path / "net"
    out.write_text("mine")
    with pytest.raises(ExportError, match=sentence):
        export_trial(own_trial.folder, Wanted("safetensors", out, force=True), allow_import=True)
    assert out.read_text() == "mine"
    assert [file.name for file in tmp_path.iterdir()] == ["net"]


def test_a_network_that_un_pools_may_differ_where_pools_have_ties(own_trial: OwnTrial) -> None:
    """In up to half of the logits; any other network nowhere."""
    trial = own_trial.trial
    chain = replace(trial, networks={"pruned": standalone(fx.symbolic_trace(nn.Sequential(nn.Conv2d(1, 3, 1))))})
    for of, may in ((trial, True), (chain, False)):
        run = of.networks["pruned"]
        for share in (0.4, 0.6):
            off = partial(shifted, run, share)
            found = parity(of, off, Images(of, Inputs()))[5]
            assert found.largest == pytest.approx(1.0, rel=1e-3)
            assert (found.judged <= 1e-4) == (may and share < 0.5)
    lines = list(report_lines(replace(own_trial.exported["onnx"], differences={5: Difference(0.02, 3e-7, True)})))
    assert lines[0].startswith("logits: largest difference over the largest logit 2.0e-02 for a batch of 5")
    assert lines[1].startswith("half of the logits are within 3.0e-07 for a batch of 5; others read a value that")


def shifted(run: Run, share: float, images_BCHW: Tensor) -> Tensor:
    """Logits of which the first ``share`` is off by the largest."""
    logits = run(images_BCHW).clone()
    flat = logits.view(-1)
    flat[: round(share * len(flat))] += logits.abs().max()
    return logits


def test_decisions_that_pools_may_change_are_few(own_trial: OwnTrial) -> None:
    trial = own_trial.trial
    row = {**trial.row, "val_score": trial.row["val_score"] + 0.5}
    run = Safetensors(Settings()).load(own_trial.exported["safetensors"].file, 1, Inputs())
    first, _ = compare(replace(trial, row=row), lambda images: run(images).flip(1), Images(trial, Inputs()))
    assert first.wrong > first.allowed == 0  # a hundredth of 12


def test_ties_are_told_and_pass(own_trial: OwnTrial, loading: Callable[..., None], tmp_path: Path) -> None:
    """A row that says otherwise than the network gives: not the export's fault, and told."""
    trial = own_trial.trial
    row = {**trial.row, "val_score": trial.row["val_score"] + 0.5}
    run = Safetensors(Settings()).load(own_trial.exported["safetensors"].file, 1, Inputs())
    first, second = compare(replace(trial, row=row), run, Images(trial, Inputs()))
    assert first.score == first.row - 0.5
    assert first.wrong == 0
    assert first.others.startswith(f"the network in raprune scores {first.score:.6g} here; 0 of 12 decisions differ")
    assert (second.others, second.score) == ("", trial.row["test_score"])


def test_data_that_cannot_be_had_leave_random_images(
    own_trial: OwnTrial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(inputs: object, dataset: object) -> None:
        raise MissingDataError("there are no such files\nand more")

    monkeypatch.setattr(Inputs, "data", missing)
    exported = export_trial(own_trial.folder, Wanted("safetensors", tmp_path / "net"), allow_import=True)
    assert exported.scores == ()
    assert exported.checked_on == (
        "random images (the study's are not available, so nothing is scored: there are no such files)"
    )
    assert max(of.largest for of in exported.differences.values()) == 0
    monkeypatch.setattr(exporting, "_write", lambda *given: _written(given[4], exported))
    with pytest.raises(InputError, match="int8 needs the study's training images: there are no such files"):
        export_trial(own_trial.folder, Wanted("onnx", tmp_path / "eight", quantised=True), allow_import=True)
    assert [file.name for file in tmp_path.iterdir()] == ["net"]


def _written(aside: Path, exported: Exported) -> Exported:
    aside.write_bytes(b"a network")
    return exported


def test_data_of_another_size_are_told(own_trial: OwnTrial) -> None:
    trial = own_trial.trial
    other = trial.plan.model_copy(update={"input_shape": (1, 8, 8)})
    images = Images(replace(trial, plan=other), Inputs())
    assert images.missing == "data set tests.export.own:data has images of (1, 9, 7) now"
    assert images.few(3).shape == (3, 1, 8, 8)


def test_a_network_that_knows_its_batch_is_refused(tmp_path: Path) -> None:
    model = OWN.model_copy(update={"settings": {"counts": True}, "whole": ["counted"]})
    folder = make_trial(tmp_path / "made", model)
    with pytest.raises(InputError, match=r"trial t is not exported: torch.export does not take the network: "):
        export_trial(folder, Wanted("pt2", tmp_path / "net.pt2"), allow_import=True)
    assert not list(tmp_path.glob("*net*"))


def test_what_a_person_reads(own_trial: OwnTrial) -> None:
    exported = own_trial.exported["onnx"]
    lines = list(report_lines(exported))
    assert lines[0].startswith("logits: largest difference over the largest logit ")
    assert lines[0].endswith(" for a batch of 5, on validation images of tests.export.own:data")
    assert lines[1] == f"val score: {own_trial.trial.row['val_score']:.6g}, as in the trial's row"
    assert re.fullmatch(r"load it with onnxruntime\.InferenceSession\('.*/exported/net\.onnx'\)", lines[-1])
    val, test = (measured.score for measured in exported.scores)
    eight = replace(exported, num_bytes=10, quantised=Quantised(20, {"val": val - 1.5, "test": test}, 7))
    lines = list(report_lines(eight))
    assert lines[1] == f"val score: {val - 1.5:.6g} in 8 bits (-1.5); {val:.6g} in float, as in the trial's row"
    assert lines[3].endswith("(10 bytes, 20 in float; calibrated on 7 images)")


def test_a_study_lists_its_trials_for_export(own_trial: OwnTrial, tmp_path: Path) -> None:
    study_dir = own_trial.folder.parent.parent
    with pytest.raises(InputError, match="is a study; name one of its trials") as caught:
        export_trial(study_dir, Wanted("onnx", tmp_path / "my net", quantised=True), allow_import=True)
    asked = f"--format onnx --out '{tmp_path / 'my net'}' --int8"
    allowed = " ".join(f"--allow-import tests.export.own:{name}" for name in ("build", "data"))
    assert str(caught.value).splitlines()[1].startswith(f"  raprune export {own_trial.folder} {asked} {allowed}  #")
    copy = shutil.copytree(study_dir, tmp_path / "copy")
    (copy / "trials" / "t" / "model").rename(copy / "elsewhere")
    with pytest.raises(InputError, match=r"model.safetensors is missing"):
        open_trial(copy / "trials" / "t", allow_import=True)


def test_the_ending_of_a_file_names_its_format() -> None:
    assert [format_for(Path(f"a.b{ending}")) for ending in (".onnx", ".pt2", ".safetensors")] == [
        "onnx", "pt2", "safetensors",
    ]  # fmt: skip
    for name in ("small", "small.pth"):
        with pytest.raises(InputError, match=rf"{name}: .*known: hugging_face, onnx, pt2, safetensors"):
            format_for(Path(name))
