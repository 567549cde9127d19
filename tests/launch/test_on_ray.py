"""On a real Ray cluster: the same rows as in process, Tune's named axes, lost evaluators, refusals."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pandas as pd
import pytest

from raprune.errors import InputError
from raprune.evaluators.backend import Node
from raprune.launch.base import Launch
from raprune.launch.execute import MANIFEST
from raprune.launch.on_ray import ray_runner
from raprune.launch.resources import resources_for
from raprune.results import read_study
from raprune.study import load_study
from raprune.study.parts import EvaluatorsSpec
from tests.fuzz.small import STUDY as SMALL
from tests.launch.runs import Watch, assert_same_rows, run_tiny
from tests.tiny import STUDY, write_study
from tests.waiting import PATIENCE_S

pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.mark.slow  # with two, one of which is killed, below
@pytest.mark.parametrize("evaluators", [1, 2])
def test_rows_do_not_depend_on_the_number_of_evaluators(reference: Path, tmp_path: Path, evaluators: int) -> None:
    mapped: dict[int, set[str]] = {}
    outcome, out = run_tiny(tmp_path, evaluators, watch=Watch(lambda _: note_mapped(mapped, evaluators)), fresh=True)
    assert outcome.exit_code == 0
    assert_same_rows(reference, out)
    assert len(mapped) == evaluators
    shared = set.intersection(*mapped.values())
    assert shared, f"no prefix was in the memory of every evaluator: {mapped}"
    assert not any(Path(file).exists() for file in shared)
    trials = read_study(out).trials
    assert (trials["evaluators"] == evaluators).all()
    candidates = read_study(out).candidates
    assert set(candidates["evaluator"][candidates["from_memo"]]) == {"memo"}
    used = set(candidates["evaluator"][~candidates["from_memo"]])
    assert used == {f"evaluator-{index}" for index in range(evaluators)}


@pytest.mark.parametrize("study", ["small_study", pytest.param("reference", marks=pytest.mark.slow)])
def test_a_killed_evaluator_costs_no_row(request: pytest.FixtureRequest, tmp_path: Path, study: str) -> None:
    """Of two; it is the one that scores the next masks."""
    found = request.getfixturevalue(study)
    done, text, first = (found, STUDY, 2) if study == "reference" else (found[1], SMALL, 1)
    killed: list[int] = []

    def kill(commits: int) -> None:
        if commits == first:
            pid = evaluator_pid()
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    watch = Watch(kill)
    outcome, out = run_tiny(tmp_path, 2, watch=watch, text=text)
    assert killed
    assert outcome.exit_code == 0
    assert_same_rows(done, out)


def note_mapped(mapped: dict[int, set[str]], evaluators: int) -> None:
    """Adds the files of the host's shared prefixes that each evaluator of the running study has in its memory."""
    for index in range(evaluators):
        pid = evaluator_pid(f"evaluator-{index}")
        words = Path(f"/proc/{pid}/maps").read_text().split()
        mapped.setdefault(pid, set()).update(word for word in words if "/raprune-" in word and "raprune-tiny-" in word)


def evaluator_pid(name: str = "evaluator-0") -> int:
    """The process of one evaluator of the running study."""
    import ray

    named = ray.util.list_named_actors(all_namespaces=True)
    entry = next(e for e in named if e["name"] == name)
    actor = ray.get_actor(entry["name"], namespace=entry["namespace"])
    return int(ray.get(actor.process_id.remote(), timeout=PATIENCE_S))


@pytest.mark.slow
def test_tune_sees_the_axes_by_name(tmp_path: Path) -> None:
    text = write_study(tmp_path)
    plan = load_study(
        text, ["layers=[features.40]", "sweep.order=[low_to_high, by_sensitivity]", "sweep.method=[magnitude]"]
    )
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / MANIFEST).write_text("{}")
    with ray_runner(Launch(plan, tmp_path / "out", plan.trials, 1), Watch()) as runner:
        runner.prepare(plan.trials)
        grid = runner.run(plan.trials, plan, Watch())
    assert grid is not None
    frame = pd.json_normalize([result.metrics for result in grid], sep="/")
    assert sorted(zip(frame["config/drop_bound"], frame["config/order"], strict=True)) == [
        (2.0, "by_sensitivity"), (2.0, "low_to_high"), (8.0, "by_sensitivity"), (8.0, "low_to_high"),
    ]  # fmt: skip
    assert set(frame["config/method"]) == {"magnitude"}
    assert set(frame["config/seed"]) == {0}


@pytest.mark.slow
def test_completed_trials_do_not_run_again(tmp_path: Path) -> None:
    first, out = run_tiny(tmp_path, 1, "sweep.drop_bound=[8.0]", "layers=[features.40]")
    assert first.exit_code == 0
    files = {file: file.stat().st_mtime_ns for file in out.glob("trials/*/*.parquet")}
    watch = Watch()
    again, _ = run_tiny(tmp_path, 1, "sweep.drop_bound=[8.0, 4.0]", "layers=[features.40]", watch=watch)
    assert again.exit_code == 0
    assert all(file.stat().st_mtime_ns == written for file, written in files.items())
    assert len(watch.statuses) == 3
    assert set(read_study(out).trials["drop_bound"].dropna()) == {4.0, 8.0}


@pytest.mark.slow
def test_a_failing_trial_leaves_a_row_and_the_others_complete(tmp_path: Path) -> None:
    """A second session finds a layer file that was damaged on disk: that trial fails, with its traceback."""
    _, out = run_tiny(tmp_path, 1, "sweep.drop_bound=[8.0]", "layers=[features.40, features.37]")
    plan = load_study(tmp_path / "tiny.yaml", ["sweep.drop_bound=[8.0]", "layers=[features.40, features.37]"])
    agent, magnitude = (
        next(t.trial_id for t in plan.trials if t.method.name == n and not t.matched_trial_id)
        for n in ("agent", "magnitude")
    )
    (out / "trials" / magnitude / "trial.parquet").unlink()
    state = out / "trials" / magnitude / "state" / "1.json"
    state.write_text(state.read_text().replace('"version": "', '"version": "0'))
    outcome, _ = run_tiny(tmp_path, 1, "sweep.drop_bound=[8.0]", "layers=[features.40, features.37]")
    assert outcome.exit_code == 1
    assert outcome.statuses[agent] == "completed"
    assert outcome.statuses[magnitude] == "failed"
    row = read_study(out).trials.set_index("trial_id").loc[magnitude]
    assert "has changed since it was written; delete" in row["error"]
    assert "Traceback" in row["error"]
    assert "host " in row["error"]
    assert (out / "trials" / magnitude / "error.txt").read_text() == row["error"]
    assert pd.isna(row["val_score"])


def test_a_study_that_does_not_fit_is_refused_at_once(tmp_path: Path) -> None:
    watch = Watch()
    with pytest.raises(InputError, match=r"64 evaluators .* has 2: use --evaluators 2"):
        run_tiny(tmp_path, 64, watch=watch)
    assert watch.text == "starting Ray"  # so no baseline was prepared
    assert not hasattr(watch, "pool")  # nor evaluators waited for


FITS = [
    ({"CPU": 1.0}, "auto", 1, 1, 0.9),
    ({"CPU": 2.0}, "auto", 1, 2, 0.9),
    ({"CPU": 16.0}, "auto", 1, 16, 0.9),
    ({"CPU": 4.0}, "auto", 2, 2, 1.9),
    ({"CPU": 2.0}, 1, 1, 1, 0.9),
]


@pytest.mark.parametrize(("available", "count", "threads", "number", "cpus"), FITS)
def test_processor_resources(
    available: dict[str, float], count: int | str, threads: int, number: int, cpus: float
) -> None:
    found = resources_for([Node("", "", available)], EvaluatorsSpec(), count, threads)
    assert (found.num_evaluators, found.device) == (number, "cpu")
    assert found.options["num_cpus"] == pytest.approx(cpus)
    assert number * cpus + 0.05 <= available["CPU"] + 1e-9


def test_gpu_resources() -> None:
    found = resources_for([Node("", "", {"CPU": 8.0, "GPU": 4.0})], EvaluatorsSpec(), "auto", 1)
    assert (found.num_evaluators, found.device, found.options) == (4, "cuda", {"num_gpus": 1.0, "num_cpus": 0})
    half = resources_for([Node("", "", {"CPU": 8.0, "GPU": 1.0})], EvaluatorsSpec(gpu_share=0.5), "auto", 1)
    assert half.num_evaluators == 2
    with pytest.raises(InputError, match=r"8 evaluators of 1 GPU each do not fit: .* use --evaluators 4"):
        resources_for([Node("", "", {"CPU": 8.0, "GPU": 4.0})], EvaluatorsSpec(), 8, 1)
    with pytest.raises(InputError, match="has no GPU"):
        resources_for([Node("", "", {"CPU": 8.0})], EvaluatorsSpec(device="cuda"), "auto", 1)


def test_ray_client_is_refused(tmp_path: Path) -> None:
    from raprune.launch.cluster import connect

    with pytest.raises(InputError, match="ray job submit"):
        connect("ray://head:10001", "x", EvaluatorsSpec(), 1, 1)


def test_state_in_the_object_store_is_not_written_to(ray_cluster: None) -> None:
    """Arrays that Ray shares between processes are copied before anything can write to them."""
    import numpy as np
    import ray

    from raprune.network.state import State, to_tensors

    state = State("b", {}, {"w": np.ones(100_000, dtype=np.float32)})
    ref = ray.put(state)
    tensors = to_tensors(ray.get(ref).arrays)
    tensors["w"].zero_()
    assert float(ray.get(ref).arrays["w"].sum()) == 100_000
    assert ray.get(ref).version == state.version
