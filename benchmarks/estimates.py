"""Whether `raprune check --estimate` keeps its word: its 80% interval of hours, and how long the study then took.

    python -m benchmarks.estimates [--processor] [NAME ...]        # default: all five

Each study is estimated, then run from the beginning in a fresh folder with as many evaluators; the true time is what
the run itself counts (time.json). It prints one line per study, and at the end how many true times lie in their
interval.

``--processor`` estimates and measures processor seconds of a run in process instead of wall time: what is left is the
error of the estimate, whoever else uses the machine. Neither counts the report or the loading of libraries.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from raprune.preflight.checks import load_and_inspect
from raprune.preflight.estimate import clock, estimate_study

STUDIES = Path(__file__).resolve().parents[1] / "studies"


@dataclass(frozen=True)
class Case:
    """A study, shortened to a few minutes."""

    study: str
    overrides: tuple[str, ...]
    evaluators: int
    """0 is in process."""
    rehearse: bool = True


CASES = {
    "quickstart": Case("quickstart", ("sweep.order=[low_to_high]", "sweep.drop_bound=[4.0]"), 1, rehearse=False),
    "vgg16": Case("vgg16_drop_bounds", (), 0),
    "resnet18": Case("resnet18_drop_bounds", ("sweep.model=[{name: resnet18, width: 0.125}]",), 1),
    "segnet": Case("segnet_camvid", ("sweep.drop_bound=[2.0]",), 0),
    "fcn32s": Case("fcn32s_drop_bounds", ("sweep.drop_bound=[4.0]",), 1),
}


def estimated(case: Case) -> tuple[float, float, float]:
    """The 10%, 50% and 90% quantiles, in seconds."""
    plan, facts = load_and_inspect(STUDIES / f"{case.study}.yaml", case.overrides, case.rehearse)
    estimate = estimate_study(plan, facts, lambda text: None, [case.evaluators])
    low, mid, high = (3600 * hours for hours in estimate.hours[case.evaluators])
    return low, mid, high


RUN = """
import json, sys, time
from raprune.api import load_study, run_study
file, overrides, rehearse, out, evaluators = json.loads(sys.argv[1])
study = load_study(file, overrides, rehearse)
began = time.process_time()
run_study(study, out, evaluators=evaluators, progress=False, report=False)
print(time.process_time() - began)
"""


def true_s(case: Case) -> tuple[float, float]:
    """Wall seconds of the study's run, and processor seconds of its process."""
    with tempfile.TemporaryDirectory(prefix="estimates-") as folder:
        asked = [str(STUDIES / f"{case.study}.yaml"), case.overrides, case.rehearse, folder, case.evaluators]
        command = [sys.executable, "-c", RUN, json.dumps(asked)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        wall_s = float(json.loads((Path(folder) / "time.json").read_text())["run_s"])
        return wall_s, float(done.stdout.split()[-1])


def main(names: list[str], *, processor: bool) -> None:
    if processor:
        clock.now = time.process_time
    print(f"{'study':<12}{'evaluators':>11}{'80% interval':>18}{'middle':>9}{'true':>8}{'load':>7}  in it", flush=True)
    hits = 0
    for name in names or CASES:
        case = replace(CASES[name], evaluators=0) if processor else CASES[name]
        low, mid, high = estimated(case)
        took = true_s(case)[processor]
        hit = low <= took <= high
        hits += hit
        load = os.getloadavg()[1]
        print(
            f"{name:<12}{case.evaluators or 'in process':>11}{f'{low:.0f} to {high:.0f} s':>18}{mid:>7.0f} s"
            f"{took:>6.0f} s{load:>7.1f}  {'yes' if hit else 'no'}", flush=True,
        )  # fmt: skip
    print(f"{hits} of {len(names or CASES)} true times lie in their interval")


if __name__ == "__main__":
    arguments = sys.argv[1:]
    main([name for name in arguments if name != "--processor"], processor="--processor" in arguments)
