"""Every command in the documents exists: the command line parses it, and the cheap ones are run.

A line of a code block that starts with ``raprune`` is a whole command; one in running text may lack its arguments.
"""

from __future__ import annotations

import copy
import re
import shlex
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import typer.main

from raprune import cli
from raprune.cli.root import USAGE_ERRORS, app
from tests.test_docs import PAGES
from tests.test_shape import ROOT

PAGES_WITH_COMMANDS = [*(page for page in PAGES if page.name != "CHANGELOG.md"), ROOT / "benchmarks" / "README.md"]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)
SHELL = ("", "sh", "bash", "console")
ROOT_COMMAND: Any = typer.main.get_command(app)


def command_lines(page: Path) -> list[str]:
    """The lines of a page's shell blocks that are commands of ours, of Python or of make; prompts are left out."""
    text = "".join(body for language, body in FENCE.findall(page.read_text(encoding="utf-8")) if language in SHELL)
    lines = (line.removeprefix("$ ") for line in text.splitlines())
    return [line for line in lines if re.match(r"(?:[A-Z_]+=\S+ )*(?:raprune|python|make) ", line)]


def named_in_text(page: Path) -> list[str]:
    """Commands of ours between backticks outside code blocks."""
    return re.findall(r"`(raprune [^`]*)`", FENCE.sub("", page.read_text(encoding="utf-8")))


def wrong(line: str, whole: bool) -> str:
    """What the command line has against a command, or "". ``whole``: arguments that are required must be there."""
    words = [word for word in shlex.split(line, comments=True) if not re.fullmatch(r"[A-Z_]+=.*", word)][1:]
    if not words or words[0].startswith("-"):
        return next((f"no option {word}" for word in words if word not in {"--help", *options_of(ROOT_COMMAND)}), "")
    if words[0] not in ROOT_COMMAND.commands:
        return f"no command {words[0]}"
    if words[1:] == ["--help"]:
        return ""
    command = copy.copy(ROOT_COMMAND.commands[words[0]])
    command.params = [copy.copy(parameter) for parameter in command.params]
    for parameter in command.params:
        parameter.callback = None  # looks for the file
        parameter.required = parameter.required and whole
    try:
        command.make_context(words[0], words[1:])
    except USAGE_ERRORS as error:
        return error.format_message()  # type: ignore[attr-defined, no-any-return]
    return ""


def options_of(command: Any) -> set[str]:
    return {name for parameter in command.params for name in parameter.opts}


@pytest.mark.parametrize("page", PAGES_WITH_COMMANDS, ids=lambda page: page.stem)
def test_the_command_line_takes_every_command(page: Path) -> None:
    ours = [(line, True) for line in command_lines(page) if "raprune" in line.split("#")[0].split()[0]]
    ours += [(line, False) for line in named_in_text(page)]
    assert [f"{line}: {found}" for line, whole in ours if (found := wrong(line, whole))] == []


def test_commands_that_do_not_exist_are_noticed() -> None:
    for line in (
        "raprune stduy quickstart", "raprune study quickstart --evaluator", "raprune study", "raprune list a b c",
        "raprune bench results/x/trials/y --threads many", "raprune --versoin",
    ):  # fmt: skip
        assert wrong(line, whole=True), line
    assert not wrong("raprune study  # without its argument", whole=False)
    assert len([line for page in PAGES_WITH_COMMANDS for line in command_lines(page)]) > 30


def scripts(page: Path) -> Iterator[str]:
    """What ``python`` runs on a page: files, and modules as files."""
    lines = [*command_lines(page), *re.findall(r"`((?:[A-Z_]+=\S+ )*python [^`]*)`", page.read_text(encoding="utf-8"))]
    for line in lines:
        words = [word for word in shlex.split(line, comments=True) if "=" not in word]
        if words[0] == "python" and words[1] == "-m":
            yield words[2]
        elif words[0] == "python" and words[1].endswith(".py"):
            yield words[1]


@pytest.mark.parametrize("page", PAGES_WITH_COMMANDS, ids=lambda page: page.stem)
def test_python_runs_what_is_there(page: Path) -> None:
    elsewhere = {"venv", "build", "pytest"}
    missing = [
        one for one in scripts(page)
        if one not in elsewhere and not ((ROOT / one).is_file() if one.endswith(".py") else find_spec(one))
    ]  # fmt: skip
    assert missing == []


@pytest.mark.parametrize("page", PAGES_WITH_COMMANDS, ids=lambda page: page.stem)
def test_make_has_every_target(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"(?:^|`)make ([a-z][\w-]*)", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert [target for target in targets if not re.search(rf"^{target}:", makefile, flags=re.MULTILINE)] == []


RUN = ("--version", "list", "schema", "check", "ls")
"""Commands that take no more than a second or two."""


def test_the_cheap_commands_run(
    small_study: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a small study's results in place of the quickstart's."""
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "quickstart").symlink_to(small_study[1])
    (tmp_path / "studies").symlink_to(ROOT / "studies")
    monkeypatch.chdir(tmp_path)
    lines = {line.split("#")[0].strip() for page in PAGES_WITH_COMMANDS for line in command_lines(page)}
    lines |= set(named_in_text(ROOT / "README.md"))
    here = [line for line in sorted(lines) if line.startswith("raprune ") and "://" not in line]  # no network
    whole = [shlex.split(line)[1:] for line in here if not wrong(line, True)]
    chosen = [words for words in whole if words[0] in RUN and not {"--estimate", "STUDY", "results/NAME"} & {*words}]
    assert {words[0] for words in chosen} >= {"--version", "list", "schema", "check"}
    for words in chosen:
        monkeypatch.setattr(sys, "argv", ["raprune", *words])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        printed = capsys.readouterr()
        assert code == 0, (words, printed.err)
        assert printed.out or "--out" in words, words
