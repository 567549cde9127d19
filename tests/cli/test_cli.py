"""The command line: exit codes, messages instead of tracebacks, what `check` and `list` print, what is imported."""

# ruff: noqa: E501  (tables: one case a line)

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from raprune import __version__
from raprune.cli import root
from raprune.registry import KINDS
from raprune.study import load_study
from tests.fuzz.running import call

ROOT = Path(__file__).resolve().parents[2]
QUICKSTART = ROOT / "studies" / "quickstart.yaml"
GOOD = """name: x
model: {name: vgg16, width: 0.03125}
dataset: {name: digits, num_val: 400}
sweep:
  drop_bound: [1.0, 2.5]
  method: [magnitude, {name: random, match: magnitude}]
"""


@pytest.fixture
def run() -> Callable[..., tuple[int, str, str]]:
    """The command line in this process: exit code, standard output, standard error."""

    def found(*arguments: object) -> tuple[int, str, str]:
        answer = call(*arguments)
        return answer.code, answer.out, answer.err

    return found


def fresh(code: str) -> str:
    """What a fresh interpreter prints."""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return found.stdout


@pytest.fixture
def good(tmp_path: Path) -> Path:
    file = tmp_path / "good.yaml"
    file.write_text(GOOD)
    return file


def test_a_strangers_study_is_checked_without_importing(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "a_strangers.py").write_text(f"open({str(tmp_path / 'harm')!r}, 'w')")
    file = tmp_path / "study.yaml"
    file.write_text(GOOD.replace("sweep:", "sweep:\n  score: [top1_accuracy, {import: 'a_strangers:score', by: 2}]"))
    code, out, err = run("check", "--no-import", file)
    assert (code, err) == (0, "")
    assert "nothing was imported; 4 of 8 trials name code of their own" in out
    assert f"{file}:5: sweep.score[1].import: would import a_strangers:score" in out
    assert "drop bound 1 point = 2.8 of 280 validation images" in out  # of the others, all is known
    assert not (tmp_path / "harm").exists()
    code, out, err = run("check", "--no-import", file, "--set", "model.widht=1", "--set", "layers=each")
    assert code == 2
    assert "widht" in err
    code, out, _ = run("check", "--no-import", file, "--set", "layers=each", "--set", "model={import: 'os:system'}")
    assert (code, "would import os:system" in out) == (0, True)
    assert run("check", "--no-import", "--estimate", file)[0] == 2
    assert "the study imports no code" in run("check", "--no-import", QUICKSTART)[1]
    assert not (tmp_path / "harm").exists()


def test_check_prints_the_trial_table_and_bounds_in_images(run, good: Path) -> None:
    code, out, err = run("check", good)
    assert (code, err) == (0, "")
    plan = load_study(good)
    assert "4 trials" in out
    for trial in plan.trials:
        row = next(line for line in out.splitlines() if line.split()[:1] == [trial.trial_id])
        assert f"{trial.drop_bound:g}" in row
        assert plan.axes[trial.trial_id]["method"] in row
        assert trial.matched_trial_id is None or row.rstrip().endswith(trial.matched_trial_id)
    assert "vgg16 on digits: 13 layers can be pruned" in out
    assert "997 training images, 280 for validation, 120 for the guard, 400 test" in out
    assert "drop bound 1 point = 2.8 of 280 validation images (standard error of one score: 1.79 points)" in out
    assert "drop bound 2.5 points = 7.0 of 280 validation images" in out


def test_check_says_a_score_floor_in_images(run, good: Path) -> None:
    code, out, _ = run("check", good, "--set", "score_floor=90", "--set", "method=magnitude")
    assert code == 0
    assert "score floor 90% = 252.0 of 280 validation images" in out


def test_wide_trial_tables_are_not_cut(run, good: Path) -> None:
    axes = {
        "finetune.learning_rate": 0.01,
        "scoring.batch_size": 100,
        "baseline.learning_rate": 0.05,
        "data_seed": 1234567,
    }
    code, out, _ = run(
        "check", good, *(part for axis, value in axes.items() for part in ("--set", f"sweep.{axis}=[{value}]"))
    )
    assert code == 0
    assert "…" not in out
    for axis, value in axes.items():
        assert axis in out
        assert str(value) in out


def test_the_quickstart_is_good(run) -> None:
    code, out, err = run("check", QUICKSTART)
    assert (code, err) == (0, "")
    assert f"{len(load_study(QUICKSTART).trials)} trials" in out


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["check", "{bad}"], ["bad.yaml:2: nme: is not a key here; did you mean 'name'?", "bad.yaml:3: seed: must be an integer"]),
        (["study", "{bad}"], ["bad.yaml:2: nme: is not a key here"]),
        (["check", "{good}", "--set", "seed=x", "--set", "typo"], ["--set: seed: must be an integer; got 'x'", "got 'typo'"]),
        (["check", "nowhere.yaml"], ["nowhere.yaml: no such file; `raprune init` writes a first study file"]),
        (["study", "{folder}/bda.yaml"], ["bda.yaml: no such file; did you mean {folder}/bad.yaml"]),
        (["check", "quikstart.yaml"], ["quikstart.yaml: no such file; did you mean quickstart, which comes with raprune?"]),
        (["check", "{folder}"], ["cannot be read: it is a folder, but a file is needed"]),
        (["study", "{good}", "--out", "{good}"], ["--out: ", "cannot be a folder"]),
        (["report", "{folder}"], ["contains no study"]),
        (["report", "nowhere"], ["nowhere is not a folder; a study's folder is results/NAME"]),
        (["check", "quikstart"], ["no study that comes with raprune is called 'quikstart'; did you mean 'quickstart'?"]),
        (["list", "modle"], ["no kind of plug-in is called 'modle'; did you mean 'model'?"]),
        (["check"], ["Missing argument 'STUDY'"]),
        (["check", "{good}", "--sed", "a=1"], ["No such option"]),
        (["check", "{good}", "--set"], ["requires an argument"]),
        (["study", "{good}", "--evaluators", "-1"], ["--evaluators"]),
        (["study", "{good}", "--evaluators", "many"], ["--evaluators"]),
        (["chek", "{good}"], ["No such command 'chek'"]),
        ([], ["Usage"]),
    ],
)  # fmt: skip
def test_bad_input_is_two_and_never_a_traceback(
    run, tmp_path: Path, good: Path, arguments: list[str], fragments: list[str]
) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("# a study\nnme: x\nseed: true\n")
    places = {"good": good, "bad": bad, "folder": tmp_path}
    code, out, err = run(*(argument.format(**places) for argument in arguments))
    assert code == 2
    assert "Traceback" not in err + out
    for fragment in fragments:
        assert fragment.format(**places) in err + out


def test_problems_are_one_line_each_whatever_the_width(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    file = tmp_path / "s.yaml"
    file.write_text(f"{GOOD}drop_bond: 1\nseed: '[bold]x'\n")
    _, _, err = run("check", file)
    first, second, rest = err.splitlines()
    assert rest == "layers, files, data and network are checked once this is right"
    assert first.startswith(f"{file}:7: drop_bond: is not a key here")
    assert second == f"{file}:8: seed: must be an integer; got '[bold]x'"


def test_list_shows_every_plugin_with_its_settings(run) -> None:
    code, out, _ = run("list")
    assert code == 0
    words = [line.split() for line in out.splitlines()]
    for kind, registry in KINDS.items():
        assert [kind] in words
        for plugin in registry:
            assert any(line[:1] == [plugin.name] and plugin.summary in " ".join(line) for line in words)
            for name, field in plugin.settings.model_fields.items():
                lines = [" ".join(line) for line in words if line[:1] == [name]]
                meaning = " ".join((field.description or "").split()).replace("`", "")
                assert any(meaning in line for line in lines)


def test_list_shows_one_kind_with_defaults(run) -> None:
    code, out, _ = run("list", "method")
    assert code == 0
    assert "masks_per_update = 5  M, the number of keep masks sampled" in out
    assert "match not set" in out
    assert "decision = 'search'  Where the trial names none." in out
    assert "decision = 'prefix'  Where the trial names none." in out
    assert "vgg16" not in out


def test_list_shows_what_a_preset_sets(run) -> None:
    code, out, _ = run("list", "preset")
    assert code == 0
    assert "fast  Approximate scores" in out
    assert "method agent: decision = 'reward'" in out
    assert "decision reward: prefixes = true" in out
    assert out.index("default") < out.index("fast") < out.index("paper")


def test_version(run) -> None:
    assert run("--version")[:2] == (0, f"raprune {__version__}\n")


def test_exit_codes_of_commands_get_through(run, monkeypatch: pytest.MonkeyPatch) -> None:
    for code in (0, 1, 130):
        monkeypatch.setattr(root, "app", lambda code=code, **_: code)
        assert run("study")[0] == code


SLOW_TO_IMPORT = {"pandas", "ray", "scipy", "sklearn", "sympy", "torch"}
LOADED = f"import sys; print(sorted({SLOW_TO_IMPORT} & {{name.partition('.')[0] for name in sys.modules}}))"


def test_help_imports_nothing_heavy() -> None:
    calls = "; ".join(
        f"sys.argv = ['raprune', *{arguments!r}]; cli.main()"
        for arguments in (["--help"], ["report", "--help"], ["check", "--help"])
    )
    out = fresh(f"import sys; from raprune import cli; {calls}; {LOADED}")
    assert "Usage" in out
    assert out.splitlines()[-1] == "[]"


def test_check_list_and_schema_import_nothing_slow_beside_torch_and_pandas(good: Path) -> None:
    commands = (["check", str(good)], ["list"], ["schema", "--out", str(good.with_name("schema.json"))])
    calls = "; ".join(f"sys.argv = ['raprune', *{arguments!r}]; cli.main()" for arguments in commands)
    out = fresh(f"import sys; from raprune import cli; {calls}; import raprune.preflight.estimate.lines; {LOADED}")
    assert "4 trials" in out
    assert out.splitlines()[-1] == "['pandas', 'torch']"


def test_a_bad_study_in_a_fresh_process(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("[" * 100_000)
    command = [sys.executable, "-c", "from raprune.cli import main; main()", "check", str(file)]
    found = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr == f"{file}:1: is nested more than 20 levels deep\n"


def test_long_values_of_a_sweep_are_short_in_the_table() -> None:
    from raprune.console.tables import short_labels

    assert short_labels(["a", "b", "a"]) == {"a": "a", "b": "b"}
    models = ['{"name": "resnet18", "width": 0.1}', '{"name": "vgg16"}']
    assert list(short_labels(models).values()) == ["resnet18", "vgg16"]
    orders = ["low_to_high", '{"name": "random", "seed": 0}', '{"name": "random", "seed": 1}', '{"epochs": 1}']
    assert list(short_labels(orders).values()) == ["low_to_high", "2", "3", "4"]
