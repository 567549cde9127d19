"""docs/cluster.md, run as it stands: two nodes, a study with its own code, a job; and a node that differs."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from raprune.errors import InputError
from raprune.launch.cluster import refuse_temporary, usual_address
from tests.launch.runs import assert_same_rows
from tests.launch.test_cluster import free_port
from tests.test_shape import ROOT
from tests.waiting import until

GUIDE = ROOT / "docs" / "cluster.md"
BLOCK = re.compile(r"^<!-- run on: (\w+) -->\n```\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)
NETS = """
    from pathlib import Path
    from torch import nn

    def build(filters, num_classes):
        import later
        stem = nn.Sequential(nn.Conv2d(1, filters, 3, 1, 1), nn.BatchNorm2d(filters), nn.ReLU(), nn.MaxPool2d(2))
        wide = nn.Sequential(nn.Conv2d(filters, filters, 3, 2, 1), nn.BatchNorm2d(filters), nn.ReLU())
        return nn.Sequential(stem, wide, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * filters, num_classes))

    with Path("PLACE").open("a") as file:
        file.write(f"{__file__}\\n")
"""
DATA = """
    from pathlib import Path
    from raprune.plugins.datasets.digits import DigitsSettings, load

    def digits():
        Path(__file__).with_name("images").read_text()  # where nobody but the driver has it
        return load(DigitsSettings(num_val=200, num_test=200))
"""
STUDY = """
    name: my
    model: {import: 'nets:build', filters: 8}
    dataset: {import: 'data:digits'}
    baseline: {epochs: 4, learning_rate: 0.05}
    finetune: {after_layer: {steps: 2}}
    scoring: {batch_size: 50}
    guard: 0
    drop_bound: 30.0
    candidates_per_layer: 12
    method: {name: agent, min_updates: 2, max_updates: 2}
"""


def lines(where: str) -> list[str]:
    """The guide's commands for the head, a worker or a job's sender, in their order."""
    return [line for name, text in BLOCK.findall(GUIDE.read_text()) if name == where for line in text.splitlines()]


def test_rays_command_line_takes_every_command_of_the_guide() -> None:
    from ray.scripts.scripts import cli

    text = GUIDE.read_text()
    found = [shlex.split(line) for _, block in BLOCK.findall(text) for line in block.splitlines()]
    found += [shlex.split(command) for command in re.findall(r"`(ray [a-z][^`]*)`", text)]
    ours = [words for words in found if words[0] == "ray"]
    assert len(ours) > 5
    for _, name, *words in ours:
        if name != "job":  # exists only beside the dashboard; it is run below
            options = {opt for parameter in cli.commands[name].params for opt in parameter.opts}
            assert {word for word in words if word.startswith("--")} <= options


def test_a_study_in_a_ray_job_joins_its_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert usual_address() is None
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", '{"runtime_env": {}, "metadata": {}}')
    assert usual_address() == "auto"
    refuse_temporary(Path("results/my"))
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", '{"runtime_env": {"working_dir": "gcs://_ray_pkg_1.zip"}}')
    refuse_temporary(tmp_path.parent / "results")
    with pytest.raises(InputError, match=r"^--out: results/my would be in Ray's copy of the working folder"):
        refuse_temporary(Path("results/my"))


@dataclass
class Machines:
    """Two homes of one machine that stand for two machines, and what stands for the names in the guide."""

    folder: Path
    port: int
    dashboard: int
    started: list[subprocess.Popen[bytes]]

    @property
    def shared(self) -> Path:
        return self.folder / "shared"

    @property
    def user(self) -> Path:
        """The folder of the study."""
        return self.folder / "user"

    def environment(self, home: str, **more: str) -> dict[str, str]:
        """That of a shell on a machine, with the line that the guide puts into its profile."""
        assert "export RAY_AUTH_MODE=token" in GUIDE.read_text()
        (self.folder / home).mkdir(exist_ok=True)
        plain = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
        path = f"{self.folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        own = {"HOME": str(self.folder / home), "PATH": path, "RAY_AUTH_MODE": "token", "PYTHONPATH": str(ROOT)}
        return plain | own | {"RAY_USAGE_STATS_ENABLED": "0"} | more

    def here(self, line: str) -> str:
        """A line of the guide with the names of this test."""
        names = {"scp HEAD:": f"cp {self.folder / 'head'}/", "/shared/": f"{self.shared}/"}
        names |= {"HEAD:6379": f"127.0.0.1:{self.port}", "--port 6379": f"--port {self.port}"}
        names |= {"--address auto": f"--address 127.0.0.1:{self.port}", ":8265": f":{self.dashboard}"}
        for name, ours in names.items():
            line = line.replace(name, ours)
        return line

    def run(self, line: str, home: str = "head", timeout_s: float = 600.0) -> subprocess.CompletedProcess[str]:
        """Type a line of the guide on a machine."""
        return subprocess.run(
            ["bash", "-c", self.here(line)], env=self.environment(home), cwd=self.user, capture_output=True, text=True,
            timeout=timeout_s, check=False,
        )  # fmt: skip

    def start(self, line: str, home: str, **more: str) -> None:
        """Type a ``ray start`` of the guide; it stays in the foreground, with one core and files of its own."""
        own = f" --block --num-cpus 1 --temp-dir /tmp/rr-{self.port}-{home}"
        own += f" --dashboard-port {self.dashboard}" * ("--head" in line)
        process = subprocess.Popen(
            ["bash", "-c", f"exec {self.here(line)}{own}"], env=self.environment(home, **more),
            cwd=self.folder / home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        self.started.append(process)
        self.wait_for(len(self.started))

    def wait_for(self, number: int) -> None:
        """Wait until the cluster has so many nodes."""
        until(lambda: self.status().count(" node_") == number, what=f"a cluster of {number} nodes")

    def status(self) -> str:
        """What the head says; nothing while it is not up."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.run(f"ray status --address 127.0.0.1:{self.port}", timeout_s=30).stdout
        return ""

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """End one node, as a machine that is switched off."""
        for how in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(process.pid, how)
                process.wait(timeout=10)


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """Head and worker, set up by the commands of the guide."""
    folder = tmp_path_factory.mktemp("cluster")
    found = Machines(folder, free_port(), free_port(), [])
    for part in (found.shared, found.user, folder / "bin"):
        part.mkdir()
    for name, module in (("ray", "ray.scripts.scripts"), ("raprune", "raprune.cli")):
        (folder / "bin" / name).write_text(f"#!{sys.executable}\nfrom {module} import main\nmain()\n")
        (folder / "bin" / name).chmod(0o755)
    for name, text in (("nets.py", NETS), ("data.py", DATA), ("my.yaml", STUDY)):
        (found.user / name).write_text(textwrap.dedent(text).replace("PLACE", str(folder / "imported")))
    (found.user / "later.py").write_text("")
    (found.user / "images").write_text("all of them")
    try:
        for home in ("head", "worker"):
            for line in lines(home):
                if line.startswith("ray start"):
                    found.start(line, home)
                elif not line.startswith("raprune"):
                    done = found.run(line, home)
                    assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
        yield found
    finally:
        for process in reversed(found.started):
            found.end(process)
        for home in ("head", "worker", "other"):
            shutil.rmtree(f"/tmp/rr-{found.port}-{home}", ignore_errors=True)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_guide_runs_a_study_with_its_own_code_on_two_nodes(machines: Machines) -> None:
    """Each node imports what was sent there, and the data are read by the driver alone."""
    token = machines.folder / "worker" / ".ray" / "auth_token"
    assert token.read_text() == (machines.folder / "head" / ".ray" / "auth_token").read_text()
    (line,) = [line for line in lines("head") if line.startswith("raprune")]
    done = machines.run(line)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "checking 2 nodes" in done.stdout
    assert re.search(r"2 evaluators \(cpu\) on 2 nodes: \S+ \(1\), \S+ \(1\)", done.stdout)
    assert "Traceback" not in done.stdout + done.stderr
    assert done.stderr == ""
    imported = {Path(file).parent for file in (machines.folder / "imported").read_text().split()}
    sent = {str(place) for place in imported - {machines.user}}
    assert all("_ray_pkg_" in place for place in sent)
    assert {home for home in ("head", "worker") for place in sent if f"-{home}/" in place} == {"head", "worker"}
    alone = machines.run(f"raprune study my.yaml --out {machines.folder / 'alone'} --evaluators 0")
    assert alone.returncode == 0, alone.stdout + alone.stderr
    assert_same_rows(machines.folder / "alone", machines.shared / "results" / "my")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(
    find_spec("opencensus") is None, reason="`ray job submit` needs ray[default], which the extra cluster brings"
)
def test_the_guide_submits_a_job(machines: Machines) -> None:
    (line,) = lines("job")
    done = machines.run(line)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "joining the Ray cluster" in done.stdout
    assert_same_rows(machines.folder / "alone", machines.shared / "results" / "job")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_node_that_differs_is_refused_by_name(machines: Machines) -> None:
    """A third node, with another torch and other code of raprune."""
    other = machines.folder / "site"
    shutil.copytree(ROOT / "raprune", other / "raprune", ignore=shutil.ignore_patterns("__pycache__"))
    (other / "raprune" / "registry.py").open("a").write("# another version\n")
    (other / "torch-1.0.dist-info").mkdir()
    (other / "torch-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 1.0\n")
    shutil.copytree(machines.folder / "worker" / ".ray", machines.folder / "other" / ".ray")
    (start,) = [line for line in lines("worker") if line.startswith("ray start")]
    machines.start(start, "other", PYTHONPATH=str(other))
    try:
        done = machines.run("raprune study my.yaml --out /shared/refused --address auto")
    finally:
        machines.end(machines.started.pop())
    assert done.returncode == 2, done.stdout + done.stderr
    first, second = done.stderr.splitlines()
    assert re.fullmatch(r"node \S+ cannot be used: torch is 1\.0 there and .* here; code of raprune is .* here", first)
    assert second.startswith("Install the same there as here, or take the node out of the cluster")
