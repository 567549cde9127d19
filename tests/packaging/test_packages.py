"""The wheel and the sdist: what is in them, what they say of themselves, and that they work where nothing else is."""

from __future__ import annotations

import re
import tarfile
from email.message import Message
from email.parser import BytesParser
from pathlib import Path

import pytest
import yaml

from raprune import __version__
from raprune.study.bundled import bundled_studies
from tests.packaging.builds import FreshEnvironment, build_sdist, build_wheel, files_under, members
from tests.test_shape import ROOT

LICENCES = ("LICENSE", "NOTICE", "analysis/web/uPlot.LICENSE")
SHORT = ["sweep={}", "method=magnitude", "drop_bound=40", "layers=[features.0, features.3]", "baseline.epochs=4"]
"""The quickstart in seconds."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_sdist(ROOT, tmp_path_factory.mktemp("sdist"))


def metadata(wheel: Path) -> Message:
    (content,) = [content for name, content in members(wheel).items() if name.endswith("/METADATA")]
    return BytesParser().parsebytes(content)


def test_the_wheel_holds_the_package_the_report_and_the_studies_and_nothing_else(wheel: Path) -> None:
    beside = files_under(ROOT / "analysis") | files_under(ROOT / "studies")
    names = ["METADATA", "WHEEL", "RECORD", "entry_points.txt", *(f"licenses/{name}" for name in LICENCES)]
    about = {f"raprune-{__version__}.dist-info/{name}" for name in names}
    assert set(members(wheel)) == files_under(ROOT / "raprune") | {f"raprune/{name}" for name in beside} | about
    assert {"raprune/py.typed", "raprune/analysis/plots.py", "raprune/studies/quickstart.yaml"} <= set(members(wheel))


def test_the_sdist_holds_what_the_makefile_and_the_tests_need(sdist: Path, wheel: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
        opened.extractall(tmp_path, filter="data")
    folders = ("raprune", "analysis", "studies", "tests", "docs", "benchmarks", "scripts")
    wanted = set().union(*(files_under(ROOT / folder) for folder in folders))
    files = {"README.md", "CHANGELOG.md", "CITATION.cff", "Makefile", "pyproject.toml", ".gitignore", "PKG-INFO"}
    files |= {"LICENSE", "NOTICE", "mkdocs.yml"}
    assert names == wanted | files
    (tree,) = tmp_path.iterdir()
    assert members(build_wheel(tree, tmp_path / "again")) == members(wheel)


def test_the_metadata(wheel: Path) -> None:
    found = metadata(wheel)
    assert (found["Name"], found["Version"]) == ("raprune", __version__)
    assert found["Description-Content-Type"] == "text/markdown"
    assert found.get_payload() == (ROOT / "README.md").read_text()
    assert found["License-Expression"] == "Apache-2.0"
    assert "Typing :: Typed" in found.get_all("Classifier", [])
    needed = {re.split(r"[\[<>=; ]", need)[0] for need in found.get_all("Requires-Dist", []) if "extra ==" not in need}
    assert {"ray", "torch", "typer"} <= needed
    assert not {"pytest", "hatchling", "jsonschema"} & needed


def test_the_citation_is_of_this_version() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (cited["title"], cited["version"], cited["license"]) == ("raprune", __version__, "Apache-2.0")
    assert cited["references"][0]["year"] == 2018


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_it_works_in_a_fresh_environment_far_from_the_checkout(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    fresh = FreshEnvironment(tmp_path, request.getfixturevalue(kind))
    assert fresh.python("import raprune; print(raprune.__file__)").startswith(str(fresh.site))
    assert not [line for line in fresh.pip("check", check=False).splitlines() if line.startswith("raprune ")]
    assert fresh.raprune("--version") == f"raprune {__version__}\n"
    listed = fresh.raprune("list", "study")
    assert all(f"  {name}  " in listed for name in bundled_studies())
    assert str(fresh.site) in listed
    sets = [part for text in SHORT for part in ("--set", text)]
    said = fresh.raprune("study", "quickstart", "--evaluators", 0, *sets)
    assert "1 completed" in said
    page = fresh.folder / "results" / "quickstart" / "report" / "index.html"
    page.unlink()
    assert "report: " in fresh.raprune("report", "results/quickstart")
    assert page.is_file()
    assert "quickstart" in fresh.raprune("study", "quikstart", check=False)
