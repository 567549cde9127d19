"""The names of installed libraries are read from their source as an import has them; what is not sure is not told."""

from __future__ import annotations

from pathlib import Path

import pytest

from raprune.study.library_names import ExportedBy, OneOf, RegisteredIn

TWO = "@register_model\ndef small_net(): ...\n\n@register_model()\n@wrapped(\n    1)\ndef large_net(): ...\n"


def test_torchvisions_names_are_those_of_an_import() -> None:
    from torchvision import datasets, models

    known = RegisteredIn("no", "torchvision.models").known()
    assert known is not None
    assert sorted(known.names) == models.list_models(module=models)
    assert not known.also
    known = ExportedBy("no", "torchvision.datasets").known()
    assert known is not None
    assert list(known.names) == list(datasets.__all__)


def test_timms_names_are_those_of_an_import() -> None:
    timm = pytest.importorskip("timm")
    from timm.models import _registry

    known = RegisteredIn("no", "timm.models").known()
    assert known is not None
    assert sorted(known.names) == sorted(timm.list_models())
    assert {*known.names, *known.also} == set(_registry._model_entrypoints)


def problem(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, **files: str) -> str | None:
    """What is said of ``name`` in a library with these source files."""
    package = folder / f"{folder.name}_{len(list(folder.iterdir()))}"  # a name once: what is read is kept
    package.mkdir()
    for stem, text in {"__init__": "", **files}.items():
        (package / f"{stem}.py").write_text(text)
    monkeypatch.chdir(folder)
    return RegisteredIn("nobody has", package.name).problem(name)


def test_what_is_registered_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("small_net", "large_net", "large_net.a_tag", "given"):
        more = '@register_model(name="given")\ndef other(): ...\n'
        assert problem(tmp_path, monkeypatch, name, nets=TWO, more=more) is None
    assert problem(tmp_path, monkeypatch, "smal_net", nets=TWO) == (
        "nobody has 'smal_net'; did you mean 'small_net'? (known: small_net, large_net)"
    )
    old = "register_model_deprecations(__name__, {\n    'old_net': 'small_net.first',\n})\n"
    assert problem(tmp_path, monkeypatch, "old_net", nets=TWO + old) is None
    said = problem(tmp_path, monkeypatch, "old_ned", nets=TWO + old)
    assert said is not None
    assert "'old_net'" not in said


@pytest.mark.parametrize(
    "unsure",
    [
        "for net in nets: register_model(net)\n",
        "if new:\n    @register_model\n    def third(): ...\n",
        "from a import register_model as net\n@net\ndef third(): ...\n",
        "@registry.register_model\ndef third(): ...\n",
        "@register_model(\n    name='third')\ndef fourth(): ...\n",
        "register_model_deprecations(__name__, OLD)\n",
    ],
)
def test_where_more_may_be_registered_nothing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unsure: str
) -> None:
    assert problem(tmp_path, monkeypatch, "third", nets=TWO, more=unsure) is None
    assert problem(tmp_path, monkeypatch, "third", nets=TWO, more=f"# {unsure.splitlines()[0]}\n") is not None


def test_a_library_without_readable_source_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert problem(tmp_path, monkeypatch, "third", nets="nothing\n") is None
    for name in ("no_such_library", "no_such_library.models", "math"):
        assert RegisteredIn("no", name).problem("x") is ExportedBy("no", name).problem("x") is None
    for number, text in enumerate(("__all__ = list(names)\n", "__all__ = ['a']\n__all__ += more\n", "", "def broken(")):
        (tmp_path / f"exporting_{number}").mkdir()
        (tmp_path / f"exporting_{number}" / "__init__.py").write_text(text)
        assert ExportedBy("no", f"exporting_{number}").problem("x") is None


def test_one_of_some_names_with_a_reason() -> None:
    rule = OneOf("no", ("one", "two"), (("old", "is old"),))
    assert rule.problem("one") is None
    assert rule.problem("one.tag") == "no 'one.tag'; did you mean 'one'? (known: one, two)"
    assert rule.problem("old_one") == "old_one is old (known: one, two)"
