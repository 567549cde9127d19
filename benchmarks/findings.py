"""Runs studies/decisions.yaml, its two sisters and their fidelities in parts, on many cores and without Ray.

    python benchmarks/findings.py run --workers 16 --seconds 500 --out results/findings --only digits,segnet
    python benchmarks/findings.py collect results/findings docs/findings.parquet
    python -m analysis.findings docs/findings.parquet docs/findings-now.parquet > docs/findings.md

A part is one study file for one seed, one fidelity and a few methods, run by ``raprune study`` in its own folder and
process. The most informative parts come first. When the time is over, what runs is ended; completed trials stay, and
``run`` with the same folder goes on with the rest. Parts of one seed share a baseline, which is trained once.
``collect`` joins the trials of all folders. ResNet-20 needs RAPRUNE_DATA.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from raprune.errors import ResultsError  # noqa: E402
from raprune.results import read_study  # noqa: E402

STUDIES = {
    "digits": "studies/decisions.yaml",
    "resnet20": "benchmarks/decisions_resnet20.yaml",
    "segnet": "studies/decisions_segnet.yaml",
}
SEEDS = range(5)
FOLLOWERS = ["data_seed", "baseline.seed", "dataset.split_seed"]
"""What a swept seed varies, too; here it is set."""
FIDELITIES: dict[str, list[str]] = {
    "forward": [],
    "recalibrated": ["fidelity.finetune=recalibrate", "fidelity.recalibration_batches=2"],
    "finetuned": ["finetune.before_reward.steps=4"],
}
SHARED = {"digits": 49, "resnet20": 40, "segnet": 52}
"""Candidates for a layer where three joint passes have as many each; without those it would be 60."""
TOGETHER = {"digits": (16, 49), "resnet20": (8, 42), "segnet": (21, 52)}
"""Passes, and the candidates of each, where joint passes alone have about as many candidates in all."""
WARM = "{name: agent, prior: taylor}"
GRACE_S = 10
COLUMNS = [
    "study", "trial_id", "status", "seed", "model", "dataset", "method", "decision", "method_settings", "fidelity",
    "drop_bound", "candidates_per_layer", "guard", "baseline_key", "baseline_val_score", "baseline_guard_score",
    "baseline_test_score", "val_score_drop", "guard_score_drop", "test_score_drop", "score_drop_limit", "num_layers",
    "num_layers_whole", "num_filters", "num_kept", "pruning_ratio", "baseline_params", "params", "baseline_macs",
    "macs", "num_candidates", "num_scored", "num_order_candidates", "images_scored", "num_guard_looks", "wall_time_s",
    "part",
]  # fmt: skip


@dataclass(frozen=True)
class Part:
    """One call of ``raprune study``."""

    network: str
    fidelity: str
    seed: int
    name: str
    methods: tuple[str, ...]
    decisions: tuple[str, ...] = ("prefix", "trim", "search")
    settings: tuple[str, ...] = field(default=())

    @property
    def folder(self) -> str:
        return f"{self.network}-{self.fidelity}-{self.name}-{self.seed}"

    def command(self, out: Path) -> list[str]:
        overrides = [f"seed={self.seed}", *FIDELITIES[self.fidelity], *self.settings]
        followers = ["dataset.split_seed"] if self.network == "resnet20" else FOLLOWERS
        overrides += [f"{key}={self.seed}" for key in followers]
        overrides += [f"method=[{', '.join(self.methods)}]", f"decision=[{', '.join(self.decisions)}]"]
        axes = ("method=", "decision=")
        named = [f"sweep.{text}" if text.startswith(axes) else text for text in overrides]
        file = ROOT / STUDIES[self.network]
        code = "from raprune.cli import main; main()"
        command = [sys.executable, "-c", code, "study", str(file), "--evaluators", "0", "--out", str(out / self.folder)]
        return command + [word for text in named for word in ("--set", text)]


def baseline(network: str, seed: int) -> Part:
    """Trains the baseline and prunes nothing."""
    return Part(network, "forward", seed, "baseline", ("keep_all",), ("prefix",))


def whole_grid(network: str, fidelity: str, seed: int) -> Iterator[Part]:
    """All methods under all decision stages, in parts of about equal cost."""
    yield Part(network, fidelity, seed, "agent", ("agent",))
    yield Part(network, fidelity, seed, "criteria", ("magnitude", "taylor"))
    yield Part(network, fidelity, seed, "warm", (WARM,))
    yield Part(network, fidelity, seed, "random", ("random",))
    yield Part(network, fidelity, seed, "pbil", ("pbil",))
    yield Part(network, fidelity, seed, "ridge", ("ridge",))


def references(network: str, seed: int) -> Iterator[Part]:
    """The default as users run it, the same without joint passes, the default before, and lazy greedy at twice; then
    joint passes alone, and the default with recalibrated candidates.

    All but lazy greedy have about as many candidates: joint passes take theirs from the layers'.
    """
    shared = ("credit=auto", "postprocess.joint.passes=3", f"candidates_per_layer={SHARED[network]}")
    yield Part(network, "forward", seed, "default", ("taylor",), ("search",), shared)
    yield Part(network, "forward", seed, "alone", ("taylor",), ("search",), ("credit=auto",))
    yield Part(network, "forward", seed, "before", ("agent",), ("trim",), ("credit=0", "order=low_to_high"))
    yield Part(network, "forward", seed, "lazy", ("magnitude",), ("lazy_greedy",), ("candidates_per_layer=120",))
    passes, candidates = TOGETHER[network]
    together = (f"postprocess.joint.passes={passes}", f"postprocess.joint.candidates={candidates}")
    alone = ("credit=auto", "candidates_per_layer=1", *together)
    yield Part(network, "forward", seed, "together", ("taylor",), ("search",), alone)
    yield Part(network, "recalibrated", seed, "default", ("taylor",), ("search",), shared)


def few(network: str, fidelity: str, seed: int) -> Iterator[Part]:
    """What tells most where a candidate is dear: the defaults, new and old, and what separates them."""
    yield Part(network, fidelity, seed, "taylor", ("taylor",), ("search",))
    yield Part(network, fidelity, seed, "agent-trim", ("agent",), ("trim",))
    yield Part(network, fidelity, seed, "magnitude", ("magnitude",), ("prefix", "search"))
    yield Part(network, fidelity, seed, "warm", (WARM,), ("search",))
    yield Part(network, fidelity, seed, "agent", ("agent",), ("search",))
    yield Part(network, fidelity, seed, "random", ("random",), ("search",))


def plan(networks: Sequence[str]) -> list[Part]:
    """All parts, the most informative first."""
    parts = [part for seed in SEEDS for part in whole_grid("digits", "forward", seed)]
    parts += [part for network in STUDIES for seed in SEEDS for part in references(network, seed)]
    for network, fidelity in [
        ("resnet20", "forward"), ("digits", "recalibrated"), ("segnet", "forward"), ("digits", "finetuned"),
    ]:  # fmt: skip
        parts += sorted(
            (part for seed in SEEDS for part in few(network, fidelity, seed)),
            key=lambda part: part.name not in ("taylor", "agent-trim", "magnitude"),
        )
    parts += [part for seed in SEEDS for part in few("resnet20", "recalibrated", seed)]
    parts += [part for seed in SEEDS for part in few("segnet", "recalibrated", seed)]
    return [part for part in parts if part.network in networks]


class Runner:
    """Runs parts side by side, each once its baseline is there."""

    def __init__(self, out: Path, workers: int, seconds: float) -> None:
        self.out, self.workers = out, workers
        self.ends = time.monotonic() + seconds
        self.running: dict[subprocess.Popen[bytes], tuple[Part, float]] = {}
        self.trained: set[tuple[str, int]] = set()
        self.environment = os.environ | {
            "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "",
            "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
        }  # fmt: skip

    def run(self, parts: Sequence[Part]) -> None:
        waiting = [part for part in parts if not self._done(part)]
        keys = dict.fromkeys((part.network, part.seed) for part in waiting)
        first = [baseline(*key) for key in keys]
        self.trained = {(part.network, part.seed) for part in first if self._done(part)}
        waiting = [part for part in first if not self._done(part)] + waiting
        while (waiting or self.running) and time.monotonic() < self.ends:
            while len(self.running) < self.workers and (part := next(filter(self._ready, waiting), None)):
                waiting.remove(part)
                self._start(part)
            self._reap()
            time.sleep(0.1)
        print(f"{len(waiting)} parts not started, {len(self.running)} ended before they were complete", flush=True)
        self._end()

    def _done(self, part: Part) -> bool:
        return (self.out / part.folder / "complete").exists()

    def _ready(self, part: Part) -> bool:
        return part.name == "baseline" or (part.network, part.seed) in self.trained

    def _start(self, part: Part) -> None:
        folder = self.out / part.folder
        folder.mkdir(parents=True, exist_ok=True)
        if part.name != "baseline":
            known = self.out / baseline(part.network, part.seed).folder / "baselines"
            shutil.copytree(known, folder / "baselines", dirs_exist_ok=True)
        with (self.out / f"{part.folder}.log").open("ab") as log:
            process = subprocess.Popen(
                part.command(self.out), stdout=log, stderr=subprocess.STDOUT, env=self.environment, cwd=ROOT,
                start_new_session=True,
            )  # fmt: skip
        self.running[process] = part, time.monotonic()

    def _reap(self) -> None:
        for process in [process for process in self.running if process.poll() is not None]:
            part, began = self.running.pop(process)
            print(f"{time.monotonic() - began:6.0f} s  exit {process.returncode}  {part.folder}", flush=True)
            if process.returncode == 0:
                (self.out / part.folder / "complete").touch()
                if part.name == "baseline":
                    self.trained.add((part.network, part.seed))

    def _end(self) -> None:
        for process in self.running:
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + GRACE_S
        for process in self.running:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def run(arguments: argparse.Namespace) -> None:
    networks = arguments.only.split(",")
    if unknown := [name for name in networks if name not in STUDIES]:
        raise SystemExit(f"--only: {', '.join(unknown)} is not among {', '.join(STUDIES)}")
    if "resnet20" in networks and not os.environ.get("RAPRUNE_DATA"):
        raise SystemExit("resnet20 needs a checkpoint and CIFAR-10 images: set RAPRUNE_DATA to their folder")
    wanted = arguments.parts.split(",") if arguments.parts else None
    parts = [part for part in plan(networks) if wanted is None or part.name in wanted]
    Runner(arguments.out, arguments.workers, arguments.seconds).run(parts)


def collect(arguments: argparse.Namespace) -> None:
    frames = []
    for folder in sorted(arguments.folder.iterdir()):
        try:
            frames.append(read_study(folder).trials.assign(part=folder.name.rsplit("-", 2)[-2]))
        except ResultsError:  # ended before its first row
            continue
    trials = pd.concat(frames, ignore_index=True)
    trials = trials[(trials["status"] == "completed") & (trials["method"] != "keep_all")]
    trials = trials[COLUMNS].drop_duplicates("trial_id")
    arguments.file.parent.mkdir(parents=True, exist_ok=True)
    trials.to_parquet(arguments.file, index=False)
    print(f"{len(trials)} trials in {arguments.file}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    running = commands.add_parser("run", help="run the parts that are not complete")
    running.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="parts at once, a core each")
    running.add_argument("--seconds", type=float, default=500.0, help="after which everything ends")
    running.add_argument("--out", type=Path, default=Path("results/findings"))
    running.add_argument("--only", default=",".join(STUDIES), help="networks, separated by commas")
    running.add_argument("--parts", help="names of parts, separated by commas; all if omitted")
    running.set_defaults(call=run)
    collecting = commands.add_parser("collect", help="join the completed trials of all parts in one Parquet file")
    collecting.add_argument("folder", type=Path, help="what run was given as --out")
    collecting.add_argument("file", type=Path)
    collecting.set_defaults(call=collect)
    arguments = parser.parse_args()
    arguments.call(arguments)


if __name__ == "__main__":
    main()
