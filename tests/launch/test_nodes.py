"""What every node of a cluster must have: the study's own code, which is sent, and the same versions."""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import nullcontext as nothing
from pathlib import Path
from types import ModuleType

import pytest
from ray import cloudpickle

from raprune.errors import InputError
from raprune.launch import on_ray
from raprune.launch.base import Launch
from raprune.launch.execute import MANIFEST
from raprune.launch.nodes import NodeCheck, own_code, packed
from raprune.launch.nodes.comparing import compared, differing_processors
from raprune.launch.nodes.installed import installed
from raprune.study import load_study
from raprune.system.store import given_out
from tests.launch.runs import Watch
from tests.tiny import write_study

HERE = {"name": "head", "processor": "", "python": "3.11.7", "torch": "2.14.1", "raprune": "0.1.0"}
HERE |= {"code of raprune": "aa"}


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder: a module, one beside it that nothing has imported yet, a package with a file, and data."""
    for name, text in {
        "mine_alone.py": "x = 1",
        "mine_later.py": "y = 2",
        "mine_package/__init__.py": "",
        "mine_package/inner/nets.py": "z = 3",
        "mine_package/inner/classes.json": "[]",
        "mine_package/.hidden": "",
        "data/train.parquet": "much",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("mine_alone", "mine_package.inner.nets"):
        __import__(name)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("mine_")]:
        del sys.modules[name]


def mine(user: Path) -> dict[str, list[Path]]:
    """The code that this test's user has; other tests' users imported some of their own in this process."""
    return {name: places for name, places in own_code().items() if all(user in place.parents for place in places)}


def test_what_a_study_imported_is_packed_whole_and_works_alone(user: Path) -> None:
    with packed(mine(user)) as folder:
        assert folder is not None
        files = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
        assert files == {
            "mine_alone.py", "mine_later.py", "mine_package/__init__.py", "mine_package/inner/nets.py",
            "mine_package/inner/classes.json",
        }  # fmt: skip
        code = "import mine_alone, mine_later, mine_package.inner.nets as n; print(mine_alone.x, mine_later.y, n.z)"
        done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["1", "2", "3"]
    assert not folder.exists()


def test_libraries_and_raprune_are_not_packed(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = ModuleType("__mp_main__")  # multiprocessing's name of the program, beside its own
    program.__file__ = str(user / "mine_later.py")
    monkeypatch.setitem(sys.modules, "__mp_main__", program)
    assert set(mine(user)) == {"mine_alone", "mine_package"}
    assert not {"raprune", "analysis", "torch", "pytest", "json", "__main__"} & set(own_code())
    with packed({}) as nothing:
        assert nothing is None


def test_code_that_is_too_large_is_refused_by_name(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["raprune.launch.nodes.packing"], "MOST_BYTES", 2 * 2**20)
    (user / "mine_package" / "weights.bin").write_bytes(bytes(3 * 2**20))
    refused = r"own code is 3 MiB, and at most 2 MiB .*weights\.bin \(3 MiB\).*move data"
    with pytest.raises(InputError, match=refused), packed(mine(user)):
        pass


@pytest.mark.parametrize(
    ("there", "said"),
    [
        ({}, ""),
        ({"name": "other", "processor": "sve"}, ""),
        ({"torch": "2.9.0"}, "torch is 2.9.0 there and 2.14.1 here"),
        ({"torch": ""}, "torch is missing there and 2.14.1 here"),
        ({"code of raprune": "bb"}, "code of raprune is bb there and aa here"),
        ({"raprune": "0.0.9", "code of raprune": "bb"}, "raprune is 0.0.9 there and 0.1.0 here"),
        ({"python": "3.12", "torch": "2"}, "python is 3.12 there and 3.11.7 here; torch is 2 there and 2.14.1 here"),
    ],
)  # fmt: skip
def test_a_difference_is_told_with_both_sides(there: dict[str, str], said: str) -> None:
    assert compared(HERE, HERE | there) == said


def test_different_processors_are_told() -> None:
    assert differing_processors({"a": "avx2", "b": "avx2"}) == ""
    said = differing_processors({"a": "avx2", "b": "avx2 avx512f", **{f"c{n}": "avx2" for n in range(5)}})
    assert "a, c0, c1, c2, 2 more: avx2; b: avx2 avx512f" in said


def test_what_is_installed_here(user: Path) -> None:
    probe = user / "data" / "train.parquet"
    found = installed(["mine_package", "mine_missing"], str(probe))
    assert found["torch"] == __import__("torch").__version__.partition("+")[0]
    assert found["raprune"] == __import__("raprune").__version__
    assert found["code of mine_missing"] == ""
    assert all(value for what, value in found.items() if what != "code of mine_missing")
    (user / "mine_package" / "inner" / "nets.py").write_text("z = 4")
    probe.write_text("other")
    again = installed(["mine_package", "mine_missing"], str(probe))
    assert {what for what in found if found[what] != again[what]} == {"code of mine_package", "study's folder"}


def test_a_node_is_asked_once_and_named(user: Path, ray_cluster: None) -> None:
    import ray

    (node,) = ray.nodes()
    told: list[str] = []
    NodeCheck((), user / "data" / "train.parquet").check([node["NodeID"]], told.append)
    assert told == []
    check = NodeCheck(["mine_package"])  # a running Ray does not get the code of a study that starts later
    place = re.escape(node["NodeManagerHostname"])
    with pytest.raises(InputError, match=rf"^node {place} cannot be used: code of mine_package is missing there and "):
        check.check([node["NodeID"]], told.append)
    check._here = {}  # known by now: not asked again
    with pytest.raises(InputError, match=r"^node .* cannot be used: .*\nInstall the same there as here"):
        check.check([node["NodeID"]], told.append)


def test_a_node_that_joins_later_compares_itself() -> None:
    check = NodeCheck()
    cloudpickle.loads(cloudpickle.dumps(check.of_this_node))()
    check._here = {**check._here, "torch": "1.0"}
    with pytest.raises(InputError, match=r"^node .* cannot be used: torch is \S+ there and 1\.0 here$"):
        check.of_this_node()


def test_the_mirror_of_a_store_is_not_looked_for_on_other_nodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has one of its own, or none yet."""
    monkeypatch.setenv("RAPRUNE_STORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("raprune.launch.nodes.installed.APPEARS_S", 0.1)
    monkeypatch.setattr(NodeCheck, "check", lambda *_: None)  # of the nodes of a cluster; there is none
    plan = load_study(write_study(tmp_path))
    for out, everywhere in ((given_out(f"file://{tmp_path}/store"), False), (tmp_path / "shared", True)):
        out.mkdir(parents=True)
        (out / MANIFEST).write_text("{}")
        check = on_ray._checked([], Launch(plan, out, plan.trials, 1), Watch())
        check.of_this_node()
        (out / MANIFEST).unlink()  # as on another machine
        with pytest.raises(InputError, match="cannot read and write the study's folder") if everywhere else nothing():
            check.of_this_node()
