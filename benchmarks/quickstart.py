"""Wall time and peak memory of a study, all its processes counted once (summed PSS).

    python benchmarks/quickstart.py [raprune study arguments]     # default: studies/quickstart.yaml in a fresh folder

Prints the study's own output, then the time to the first reward, the wall time and the peak memory.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time

import psutil


def pss_bytes(root: psutil.Process) -> int:
    """Proportional set size of a process and all below it: shared pages are counted once."""
    total = 0
    for process in [root, *root.children(recursive=True)]:
        try:
            total += process.memory_full_info().pss
        except psutil.Error:
            continue
    return total


def main() -> int:
    arguments = sys.argv[1:] or ["studies/quickstart.yaml", "--out", tempfile.mkdtemp(prefix="quickstart-")]
    start = time.monotonic()
    command = [sys.executable, "-c", "from raprune.cli import main; main()", "study", *arguments]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    peak, first_reward = 0, None

    def sample() -> None:
        nonlocal peak
        root = psutil.Process(child.pid)
        while child.poll() is None:
            try:
                peak = max(peak, pss_bytes(root))
            except psutil.NoSuchProcess:
                return
            time.sleep(2)

    sampler = threading.Thread(target=sample, daemon=True)
    sampler.start()
    assert child.stdout is not None
    for line in child.stdout:
        if first_reward is None and "first reward" in line:
            first_reward = time.monotonic() - start
        print(line, end="", flush=True)
    code = child.wait()
    sampler.join()
    print(f"first reward after {first_reward or float('nan'):.0f} s")
    print(f"wall time {time.monotonic() - start:.0f} s")
    print(f"peak memory {peak / 2**30:.2f} GiB (summed PSS)")
    return code


if __name__ == "__main__":
    sys.exit(main())
