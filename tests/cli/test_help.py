"""The help of every command has examples that the command takes; `list -v` fits a narrow terminal."""

from __future__ import annotations

import re
import sys

import pytest
import typer.main

from raprune import cli
from raprune.cli.root import app
from raprune.registry import KINDS

GROUP = typer.main.get_command(app)
COMMANDS = sorted(GROUP.commands)  # type: ignore[attr-defined]


def examples_of(name: str) -> list[str]:
    """The command lines in the help of a command."""
    epilog = GROUP.commands[name].epilog or ""  # type: ignore[attr-defined]
    return [line.partition("#")[0].strip() for line in epilog.splitlines() if line.startswith("  raprune ")]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_examples_that_it_takes(name: str) -> None:
    command = GROUP.commands[name]  # type: ignore[attr-defined]
    known = {option for parameter in command.params for option in parameter.opts}
    lines = examples_of(name)
    assert 2 <= len(lines) <= 3
    for line in lines:
        first, verb, *words = line.split()
        assert (first, verb) == ("raprune", name)
        assert {word for word in words if re.match(r"--?[a-z]", word)} <= known


def listed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    monkeypatch.setattr(sys, "argv", ["raprune", "list", *arguments])
    monkeypatch.setenv("COLUMNS", "80")
    cli.main()
    return capsys.readouterr().out


def test_list_verbose_has_every_setting_in_80_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = listed(monkeypatch, capsys, "-v").partition("\npreset\n")[0]
    assert max(map(len, out.splitlines())) <= 80
    words = " ".join(out.split())
    for registry in KINDS.values():
        for plugin in registry:
            for key, field in plugin.settings.model_fields.items():
                assert f"{key}: " in words
                assert " ".join((field.description or "").replace("`", "").split()) in words


def test_list_shows_one_plugin(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    out = listed(monkeypatch, capsys, "method", "agent", "-v")
    assert "masks_per_update: whole number, at least 2; default 5" in out
    assert "taylor" not in out.split()
    with pytest.raises(SystemExit) as stop:
        listed(monkeypatch, capsys, "method", "agnet")
    assert stop.value.code == 2
