"""Estimates of a real study: what is timed, what comes out, what is printed."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from raprune import cli
from raprune.engine.inputs import Inputs
from raprune.launch.in_flight import trials_in_flight
from raprune.plugins.methods.base import CandidatesSpent
from raprune.preflight.checks import load_and_inspect
from raprune.preflight.estimate import Estimate, estimate_study
from raprune.preflight.estimate import study as module
from raprune.preflight.estimate.course import middle
from raprune.preflight.estimate.lines import facts_of, heading, hours_table, limits, uncertain
from raprune.preflight.estimate.memory import Libraries, measure_libraries
from raprune.preflight.estimate.small import cost_key
from raprune.registry import METHODS, Plugin
from raprune.results import read_study
from raprune.study import load_study
from raprune.study.choice import Choice
from raprune.study.search import SearchSpec
from raprune.trial.asked import asked, build_decision, build_method
from tests.conformance.layers import NUM_FILTERS, Evaluator, view
from tests.estimate.test_draws import shape
from tests.tiny import write_study

ALONE = """
name: tiny
model: {name: vgg16, width: 0.0625}
dataset: digits
drop_bound: 8.0
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Estimate:
    """Of the tiny study."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "measure_libraries", lambda: Libraries(300 * 2**20, 3.0))
        plan, facts = load_and_inspect(write_study(tmp_path_factory.mktemp("estimate")))
        said: list[str] = []
        estimate = estimate_study(plan, facts, said.append, [0, 1, 8, 512])
    assert any(line.endswith("candidates of 3 layers") for line in said)
    return estimate


def test_candidates_are_those_of_the_study(found: Estimate, reference: Path) -> None:
    low, _, high = found.candidates
    assert low <= len(read_study(reference).candidates) <= high
    assert low >= 2 * 3 * 4 * 5


def test_hours_fall_with_evaluators_until_they_do_not(found: Estimate) -> None:
    for low, mid, high in found.hours.values():
        assert 0 < low <= mid <= high
    assert found.hours[1][1] > found.hours[8][1] >= found.hours[512][1]
    start_h = (found.course.start_s + found.course.open_s) / 3600
    assert found.hours[512][1] > start_h / 2
    assert found.hours[1][1] < 1


def test_what_is_printed(found: Estimate) -> None:
    candidates, memory, results = facts_of(found)
    assert candidates.endswith("of 4 trials; 2 more prune to another's numbers")
    assert "libraries 300 MiB" in memory
    assert "images 2 MiB" in memory
    assert results.startswith("results: ")
    assert heading(found).endswith("tests.short:Short on digits, 3 of 3 layers")
    assert [*hours_table(found).columns[0].cells] == ["in process", "1", "8", "512"]
    (limit,) = limits(found)
    assert "At most 12 masks are scored at once, from 4 trials with M = 5 masks per update" in limit
    assert f"±{found.sigma:.0%} while timing, ±15% from one hour to another" in uncertain(found)
    assert "uncertain: how soon agents converge, how much is trimmed" in uncertain(found)


def test_all_trials_of_a_search_are_counted(found: Estimate) -> None:
    """Not only those that stand for all."""
    work = found.course.waves[0][0]
    course = replace(found.course, waves=[[work, work], [work], []])
    candidates, *_ = facts_of(replace(found, course=course))
    assert candidates.endswith("of 3 trials")
    spec = found.plan.spec.model_copy(update={"search": SearchSpec(over={"order": ["random"]})})
    candidates, *_ = facts_of(replace(found, course=course, plan=replace(found.plan, spec=spec)))
    assert candidates.endswith("of 3 trials that the search suggests")


def test_one_mask_at_once_and_no_agent_are_worded_so(found: Estimate) -> None:
    course = replace(found.course, waves=[[replace(found.course.waves[0][0], masks_per_update=1)]])
    (limit,) = limits(replace(found, course=course))
    assert "At most 1 mask is scored at once, from 1 trial with M = 1 mask per update" in limit
    ranked = [t.model_copy(update={"method": Choice(name="taylor")}) for t in found.plan.trials]
    assert "agents" not in uncertain(replace(found, plan=replace(found.plan, trials=ranked)))


def test_images_that_are_not_in_memory_are_told(found: Estimate) -> None:
    held = replace(next(iter(found.held.values())), data=0, pixels=7 * 2**30, ahead=64 * 2**20)
    _, memory, _ = facts_of(replace(found, held={"it": held}))
    assert "batches decoded ahead 64 MiB" in memory
    pixels = "in data.cache on the disk of each host: 7.0 GiB of pixels, which all map"
    assert memory.endswith(f"; {pixels}")
    _, on_gpu, _ = facts_of(replace(found, held={"it": held}, gpu_bytes=2**30))
    assert on_gpu.endswith(f"batches decoded ahead 64 MiB; {pixels}")


def test_images_that_stay_encoded_are_told(found: Estimate) -> None:
    """In memory, or copied into the cache, as rows of Parquet files are."""
    held = replace(next(iter(found.held.values())), data=2**30, encoded=2**31, prefixes=0)
    _, memory, _ = facts_of(replace(found, held={"it": held}))
    assert "; shared by all on a host: images 3.0 GiB, 2.0 GiB of them still encoded, prefixes" in memory
    _, on_gpu, _ = facts_of(replace(found, held={"it": held}, gpu_bytes=2**30))
    assert on_gpu.endswith("; shared by all on a host: encoded images 2.0 GiB")
    copied = replace(held, encoded=0, pixels=7 * 2**30, copied=2**37)
    _, memory, _ = facts_of(replace(found, held={"it": copied}))
    disk = "in data.cache on the disk of each host: 7.0 GiB of pixels, which all map, and 128.0 GiB of encoded images"
    assert memory.endswith(f"; {disk}")


def test_the_command_prints_it(
    found: Estimate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[list[int]] = []

    def estimate(plan: object, facts: object, told: object, numbers: list[int], inputs: object) -> Estimate:
        del inputs
        asked.append(numbers)
        return found

    monkeypatch.setattr("raprune.preflight.estimate.estimate_study", estimate)
    arguments = ["check", str(write_study(tmp_path)), "--estimate", "--evaluators", "2", "--set", "evaluators.count=0"]
    monkeypatch.setattr(sys, "argv", ["raprune", *arguments])
    cli.main()
    printed = capsys.readouterr().out
    assert asked == [[0, 1, 2, 8, 64, 512]]
    assert "hours, 80% interval" in printed
    assert all(line in printed for line in (*facts_of(found), *limits(found)))


def test_masks_of_a_gpu_share_launches(found: Estimate) -> None:
    """Five masks of an update are one call there, so more trials fill as many evaluators."""
    trials = found.plan.trials
    estimation = module._Estimation(found.plan, {}, print, Inputs())
    estimation.device_type = "cuda"
    estimation.shapes = {trial.trial_id: shape() for trial in trials}
    course = estimation._course(found.libraries, middle())
    assert course.in_flight(8) == trials_in_flight(trials, 8, "cuda") > trials_in_flight(trials, 8, "cpu")
    assert [module.at_once(trials[0], masks, "cuda") for masks in (1, 5, 9)] == [1, 1, 2]
    assert module.at_once(trials[0], 5, "cpu") == 5


def test_costs_do_not_depend_on_seeds_bounds_and_methods(tmp_path: Path) -> None:
    file = write_study(tmp_path)
    sweep = ["sweep.seed=[0, 1]", "sweep.data_seed=[0, 1]", "sweep.baseline.seed=[0, 1]"]
    assert len({cost_key(trial) for trial in load_and_inspect(file, sweep)[0].trials}) == 1
    sweep = ["sweep.finetune.before_reward.steps=[0, 1]", "sweep.scoring.batch_size=[50, 100]"]
    assert len({cost_key(trial) for trial in load_and_inspect(file, sweep)[0].trials}) == 4


LONG = ("ridge", "pbil")
ASKED = [
    pytest.param(
        plugin, most, price, id=f"{plugin.name}-{most}-{price}",
        marks=[pytest.mark.slow] if plugin.name in LONG and (most, price) == (None, 0.01) else [],
    )
    for plugin in METHODS for most in (None, 40) for price in (0.01, 9.0)
]  # fmt: skip


@pytest.mark.parametrize(("plugin", "most", "price"), ASKED)
def test_trials_ask_for_as_much_as_they_say(plugin: Plugin, most: int | None, price: float, tmp_path: Path) -> None:
    updates = {"min_updates": 2, "max_updates": 4} if "min_updates" in plugin.settings.model_fields else {}
    chosen = [f"method={{name: {plugin.name}, {', '.join(f'{k}: {n}' for k, n in updates.items())}}}"]
    chosen.append(f"decision={plugin.declared['decision']}")
    (trial,) = load_study(write_study(tmp_path, ALONE), chosen).trials
    trial = trial.model_copy(update={"candidates_per_layer": most})
    evaluate = Evaluator(torch.full((NUM_FILTERS,), price), most)
    ranking = build_method(trial).rank(view(), evaluate, torch.Generator().manual_seed(0))
    learned = len(evaluate.masks)
    if ranking.order:
        with contextlib.suppress(CandidatesSpent):
            build_decision(trial).decide(ranking, evaluate)
    number = asked(trial, NUM_FILTERS, 140)
    assert number.updates[0] <= learned / number.masks_per_update <= number.updates[1]
    assert number.searched[0] <= len(evaluate.masks) - learned <= number.searched[1]


@pytest.mark.slow
def test_libraries_are_measured_in_a_process() -> None:
    libraries = measure_libraries()
    assert libraries.num_bytes is None or 50 * 2**20 < libraries.num_bytes < 4 * 2**30
    assert libraries.start_s > 0.1
