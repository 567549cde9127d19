"""Builds of this tree, and fresh environments to put them into. Nothing is downloaded.

A fresh environment is a venv with a ``.pth`` file that names the site-packages of the interpreter that runs the tests,
so that torch and ray are there without being installed again. Python reads ``.pth`` files only in a venv's own
site-packages, so the editable install of this tree is not seen from there: raprune is what was installed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Sequence
from pathlib import Path

from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

from tests.test_shape import ROOT


def build_wheel(tree: Path, folder: Path) -> Path:
    (wheel,) = WheelBuilder(str(tree)).build(directory=str(folder), versions=["standard"])
    return Path(wheel)


def build_sdist(tree: Path, folder: Path) -> Path:
    (sdist,) = SdistBuilder(str(tree)).build(directory=str(folder), versions=["standard"])
    return Path(sdist)


def members(wheel: Path) -> dict[str, bytes]:
    """Name -> content."""
    with zipfile.ZipFile(wheel) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def files_under(folder: Path) -> set[str]:
    """All files of a folder of this tree but what Python compiled, by path in the tree."""
    found = (file for file in folder.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    return {str(file.relative_to(ROOT)) for file in found}


class FreshEnvironment:
    """A venv with raprune from ``package`` (a wheel or an sdist), and an empty folder to work in."""

    def __init__(self, folder: Path, package: Path) -> None:
        self.folder = folder / "empty"
        self.folder.mkdir()
        venv = folder / "venv"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
        self.bin = venv / "bin"
        self.site = Path(sysconfig.get_path("purelib", vars={"base": str(venv), "platbase": str(venv)}))
        outside = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
        (self.site / "tests_environment.pth").write_text("\n".join(outside) + "\n")
        self.pip("install", "--no-deps", "--no-index", "--no-build-isolation", "--ignore-installed", package)

    def pip(self, *arguments: object, check: bool = True) -> str:
        """What the tests' pip says of this environment."""
        pip = [sys.executable, "-m", "pip", "--python", self.bin / "python", "--disable-pip-version-check"]
        return self._run([*pip, *arguments], check)

    def python(self, code: str) -> str:
        return self._run([self.bin / "python", "-c", code])

    def raprune(self, *arguments: object, check: bool = True) -> str:
        """What the installed command prints, run in the empty folder."""
        return self._run([self.bin / "raprune", *arguments], check)

    def _run(self, command: Sequence[object], check: bool = True) -> str:
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        found = subprocess.run(
            [*map(str, command)], cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )
        assert found.returncode == 0 or not check, found.stdout + found.stderr
        return found.stdout + found.stderr
