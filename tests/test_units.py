"""The files that need Ray are one unit of a parallel test run."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def test_files_that_need_ray_go_together() -> None:
    pytest.importorskip("xdist")
    from tests.units import unit_of

    on_ray = [HERE / "launch/test_on_ray.py", HERE / "api/test_on_ray.py", HERE / "conformance/test_evaluators.py"]
    assert {unit_of(file) for file in on_ray} == {"ray"}
    others = [HERE / "launch/test_rows.py", HERE / "launch/test_signals.py"]
    assert [unit_of(file) for file in others] == [str(file) for file in others]


def test_a_parallel_run_has_these_units(pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("xdist")
    from tests.conftest import pytest_xdist_make_scheduler as make
    from tests.units import ByFileAndRay

    monkeypatch.setattr(pytestconfig.option, "tx", ["3*popen"])
    monkeypatch.setattr(pytestconfig.option, "dist", "loadfile")
    units = make(pytestconfig, None)
    assert isinstance(units, ByFileAndRay)
    assert units._split_scope("tests/launch/test_on_ray.py::test_x[1]") == "ray"
    monkeypatch.setattr(pytestconfig.option, "dist", "load")
    assert make(pytestconfig, None) is None
