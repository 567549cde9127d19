"""`make docs` builds a site without a warning, whose pages load nothing from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.test_shape import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if missing := [name for name in ("mkdocs", "material", "mkdocstrings") if find_spec(name) is None]:
        pytest.skip(f"needs the extra docs (pip install -e '.[docs]'): {', '.join(missing)}")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    return folder


def test_every_guide_and_the_reference_are_pages(site: Path) -> None:
    guides = {page.stem for page in (ROOT / "docs").glob("*.md")} | {"index", "benchmarks", "changelog"}
    assert guides <= {page.stem for page in site.glob("*.html")}
    for page, named in {"api": "raprune.api.prune", "contracts": "raprune.plugins.methods.base.Criterion"}.items():
        text = (site / "reference" / f"{page}.html").read_text()
        assert f'id="{named}"' in text
        assert ":class:" not in text


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    loaded = {
        tag
        for page in site.rglob("*.html")
        for tag in re.findall(r"<(?:script|link|img)\b[^>]*\b(?:src|href)=\"https?://[^>]*", page.read_text())
        if 'rel="canonical"' not in tag
    }
    assert loaded == set()
