"""Row 11, cost to solution: ``python benchmarks/cost_to_solution.py run paper|default|fast``, ``compare``, ``factors``.

``run paper`` runs ``preset: paper`` on the naive engine; the other two run the defaults and ``preset: fast`` on ours.
All use seeds 0, 1 and 2 of ``benchmarks/cost_to_solution.yaml`` (``--seed`` picks one). The processor seconds at which
each layer was committed are written beside the rows; a second start continues from the last committed layer.
``compare SIDE`` prints, for every seed that both completed, the processor seconds of the published setting, those after
which ours had pruned as large a share of the filters, their ratio, the candidates that both asked for, and the two test
drops. ``factors`` times engine and fidelity one by one, on candidates that the published setting sampled; the third
factor is that ours asks for fewer candidates.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from raprune.baseline.prepare import prepare_baseline
from raprune.engine import Engine, open_engine
from raprune.engine.inputs import Inputs
from raprune.engine.workload import Baseline, Workload
from raprune.evaluators.engines import Engines
from raprune.evaluators.memo import Memo
from raprune.launch.execute import Holdings, Place, execute
from raprune.network.masks import KeepMask
from raprune.network.state import State
from raprune.study import TrialSpec, load_study
from raprune.study.parts import EvaluatorsSpec, FinetuneLength

STUDY = Path(__file__).with_suffix(".yaml")
SIDES: dict[str, list[str]] = {
    "paper": ["preset=paper", "evaluators.engine=naive"],
    "default": [],
    "fast": ["preset=fast", "candidates_per_layer=none"],
}
"""What each side sets in the study."""


@dataclass(frozen=True)
class Step:
    """One committed layer."""

    layer: str
    processor_s: float
    """Since the trial began."""
    pruning_ratio: float
    """Of the whole network."""


def steps_file(folder: Path, trial: TrialSpec) -> Path:
    return folder / f"processor-{trial.trial_id}.jsonl"


def steps(folder: Path, trial: TrialSpec) -> list[Step]:
    file = steps_file(folder, trial)
    return [Step(**json.loads(line)) for line in file.read_text().splitlines()] if file.is_file() else []


def place_of(out: Path, side: str, trial: TrialSpec) -> tuple[Path, Place]:
    """A folder for each side and seed, so that none finds what another one scored."""
    spec, folder = load_study(STUDY, SIDES[side]).spec, out / side / f"seed-{trial.seed}"
    return folder, Place(str(folder), spec.preset, spec.evaluators, 0, "cpu", None)


def run(side: str, out: Path, seed: int | None) -> None:
    torch.set_num_threads(1)
    for trial in load_study(STUDY, SIDES[side]).trials:
        if seed is not None and trial.seed != seed:
            continue
        folder, place = place_of(out, side, trial)
        prepare_baseline(trial, place.baseline_folder(trial), "cpu")
        known = steps(folder, trial)
        inputs = Inputs()
        holdings = Holdings(inputs, Memo(place.memo_folder), Engines(inputs, place.evaluators, "cpu"))
        began = time.process_time() - (known[-1].processor_s if known else 0.0)

        def told(
            progress: dict[str, Any], began: float = began, trial: TrialSpec = trial, folder: Path = folder
        ) -> None:
            if "committed_pruning_ratio" not in progress:
                return
            step = Step(progress["layer"], time.process_time() - began, progress["pruning_ratio"])
            with steps_file(folder, trial).open("a") as file:
                file.write(json.dumps(vars(step)) + "\n")
            print(f"{side}, seed {trial.seed}: {step.layer} {step.processor_s:.0f} s, "
                  f"{step.pruning_ratio:.1%} of the filters pruned", flush=True)  # fmt: skip

        print(f"{side}, seed {trial.seed}: {execute(trial, place, holdings, told)}", flush=True)


def row(folder: Path, trial: TrialSpec) -> dict[str, Any] | None:
    file = folder / "trials" / trial.trial_id / "trial.parquet"
    return pq.read_table(file).to_pylist()[0] if file.is_file() else None


def compare(out: Path, side: str) -> None:
    ratios = []
    trials = [load_study(STUDY, SIDES[of]).trials for of in ("paper", side)]
    for paper, ours in zip(*trials, strict=True):
        folders = [place_of(out, of, trial)[0] for of, trial in (("paper", paper), (side, ours))]
        rows = [row(folder, trial) for folder, trial in zip(folders, (paper, ours), strict=True)]
        if rows[0] is None or rows[1] is None:
            print(f"seed {paper.seed}: not completed by both")
            continue
        theirs, taken, reached = steps(folders[0], paper), steps(folders[1], ours), rows[0]["pruning_ratio"]
        done = next((step for step in taken if step.pruning_ratio >= reached), None)
        for name, found, at in (("paper", rows[0], theirs), (side, rows[1], taken)):
            print(f"seed {paper.seed}: {name} {at[-1].processor_s:.0f} s, {found['num_candidates']:,} candidates, "
                  f"{found['pruning_ratio']:.1%} pruned, test drop {found['test_score_drop']:+.2f}")  # fmt: skip
        if done is None:
            print(f"seed {paper.seed}: {side} never reaches {reached:.1%}")
            continue
        ratios.append(theirs[-1].processor_s / done.processor_s)
        whole = theirs[-1].processor_s / taken[-1].processor_s
        print(f"seed {paper.seed}: {side} is there at {done.layer} after {done.processor_s:.0f} s: {ratios[-1]:.1f}x; "
              f"the whole trial {whole:.1f}x")  # fmt: skip
    if ratios:
        print(f"median {statistics.median(ratios):.1f}x, {len(ratios)} seeds")


def factors(out: Path, number: int) -> None:
    """Engine and fidelity on ``number`` candidates a layer of the published setting; the defaults are what is left."""
    total = dict.fromkeys(["naive", "exact", "recalibrated", "forward only", "forward only, early exit"], 0.0)
    for trial in load_study(STUDY, SIDES["paper"]).trials:
        folder, place = place_of(out, "paper", trial)
        store = place.store(trial)
        baseline = Baseline.read(folder / "baselines" / trial.baseline_key)
        if baseline is None or not store.num_committed() or trial.drop_bound is None:
            continue
        torch.set_num_threads(1)
        published = Workload.of(trial, folder / "baselines" / trial.baseline_key)
        on_cpu, naive = EvaluatorsSpec(device="cpu"), EvaluatorsSpec(device="cpu", engine="naive")
        short = replace(
            published, finetune=trial.finetune.model_copy(update={"before_reward": FinetuneLength(steps=0)})
        )
        fast = replace(published, fidelity=load_study(STUDY, SIDES["fast"]).trials[0].fidelity)
        engines: dict[str, tuple[Engine, float | None]] = {
            "naive": (open_engine(published, "cpu", naive), None),
            "exact": (open_engine(published, "cpu", on_cpu), None),
            "recalibrated": (open_engine(fast, "cpu", on_cpu), None),
            "forward only": (open_engine(short, "cpu", on_cpu), None),
        }
        engines["forward only, early exit"] = (engines["forward only"][0], baseline.val_score - 2 * trial.drop_bound)
        state = State.baseline(trial.baseline_key)
        for step, layer in enumerate(store.layer_rows()):
            asked = pq.read_table(store.folder / f"candidates-{step}.parquet")["keep_mask"].to_pylist()
            places = torch.linspace(0, len(asked) - 1, number).round().int().tolist()
            for name, (engine, lowest) in engines.items():
                began = time.process_time()
                for place in places:
                    engine.evaluate(state, layer["layer"], KeepMask(bytes(asked[place])), lowest)
                total[name] += time.process_time() - began
            engine = engines["exact"][0]
            state = state.cut(engine.graph, layer["layer"], KeepMask(bytes(layer["keep_mask"])))
            state = engine.finetune(state, "commit", state.version)
    for name, seconds in total.items():
        print(f"{name:28s}{seconds:9.1f} s{total['naive'] / seconds:9.2f}x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "compare", "factors"])
    parser.add_argument("side", nargs="?", choices=[*SIDES], default="fast")
    parser.add_argument("--out", type=Path, default=Path("results/cost_to_solution"))
    parser.add_argument("--seed", type=int)
    parser.add_argument("--candidates", type=int, default=4, help="of a layer, for `factors`")
    given = parser.parse_args()
    if given.what == "run":
        run(given.side, given.out, given.seed)
    elif given.what == "compare":
        compare(given.out, given.side)
    else:
        factors(given.out, given.candidates)


if __name__ == "__main__":
    main()
