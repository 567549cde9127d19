"""Strike a tiny study by a seeded schedule, and compare its tables with those of an undisturbed run.

python -m benchmarks.chaos                # 20 SIGKILLs and 6 SIGSTOPs
python -m benchmarks.chaos --seed 1       # another schedule
python -m benchmarks.chaos --short        # 4 SIGKILLs, as the test does
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from benchmarks.chaos.counted import LOG, Log
from benchmarks.chaos.schedule import KILL, SHORT, schedule
from benchmarks.chaos.storm import Disturbed, study
from raprune.results import read_study
from tests.launch.runs import assert_same_rows, run_tiny


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of the schedule")
    parser.add_argument("--short", action="store_true", help="4 SIGKILLs only")
    parser.add_argument("--candidates", type=int, default=300, help="of a trial's layer")
    parser.add_argument("--seeds", type=int, default=1, help="of the study")
    parser.add_argument("--out", type=Path, help="keep the studies in this folder")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = given.out or Path(name)
        text = study(given.seeds, given.candidates)
        os.environ[LOG] = str(folder / "undisturbed.log")
        folder.mkdir(parents=True, exist_ok=True)
        outcome, reference = run_tiny(folder / "undisturbed", 0, text=text)
        if outcome.exit_code:
            raise SystemExit(f"the undisturbed run did not complete: {outcome.summary()}")
        whole = Log(folder / "undisturbed.log").look()
        print(f"undisturbed, in this process: {outcome.summary()}; {whole.distinct} candidates scored")
        blows = schedule(given.seed, SHORT, {}, 1) if given.short else schedule(given.seed)
        disturbed = Disturbed(folder / "disturbed", text, blows, whole.distinct)
        storm = disturbed.run()
        for number, struck in enumerate(storm.struck, 1):
            print(f"{number:4}  {struck}")
        log = storm.log
        kills = sum(blow.signal == KILL for blow in blows)
        print(
            f"{kills} SIGKILLs, {len(blows) - kills} SIGSTOPs, {storm.runs} runs, {storm.seconds:.0f} s\n"
            f"candidates scored: {log.distinct}; scored twice: {log.twice}; begun in vain: {log.lost}; "
            f"both together {log.share:.2%}; scored again because the memo was deleted: {log.after_deletion}"
        )
        for seconds in storm.replaced:
            print(f"a suspended process was replaced after {seconds:.0f} s")
        for text in storm.unclear:
            print(f"UNCLEAR END: {text}")
        assert_same_rows(reference, disturbed.out)
        tables = read_study(disturbed.out)
        print(f"all tables equal: {len(tables.trials)} trials, {len(tables.candidates)} candidates")
    return 1 if storm.unclear else 0


if __name__ == "__main__":
    sys.exit(main())
