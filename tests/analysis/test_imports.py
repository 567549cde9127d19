"""What drawing a page imports: files are drawn by Matplotlib, the page is not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.analysis.cases import CASES
from tests.analysis.make_tables import write_study

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import sys
from pathlib import Path
from analysis.plots import write_report
write_report(Path(sys.argv[1]))
print(sorted({name.partition(".")[0] for name in sys.modules} & {"matplotlib", "torch", "ray"}))
"""


def test_a_page_needs_no_matplotlib(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "made", CASES["everything"])
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
