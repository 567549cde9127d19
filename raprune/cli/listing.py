"""The command ``list``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Optional

import typer

from raprune.cli.completion import KINDS_LISTED, complete_kind
from raprune.cli.root import app, examples
from raprune.cli.terminal import open_console
from raprune.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

    from raprune.registry import Plugin


@app.command(
    "list",
    epilog=examples(
        ("raprune list method", "all methods with their settings"),
        ("raprune list method agent", "one of them"),
        ("raprune list dataset -v", "types, defaults and meanings, for a narrow terminal"),
    ),
)
def list_plugins(
    kind: Annotated[
        Optional[str],  # noqa: UP045
        typer.Argument(metavar="KIND", help=f"{', '.join(KINDS_LISTED[:-1])} or study.", autocompletion=complete_kind),
    ] = None,
    name: Annotated[
        Optional[str],  # noqa: UP045
        typer.Argument(metavar="NAME", help="One plug-in of that kind.", show_default=False),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Each setting with its type, default and meaning, wrapped.")
    ] = False,
) -> None:
    """List every plug-in with its settings (their defaults and units), the presets and the studies."""
    from raprune.registry import KINDS, nearest

    if kind is not None and kind not in KINDS_LISTED:
        raise InputError(f"no kind of plug-in is called {kind!r}{nearest(kind, list(KINDS_LISTED))}")
    console = open_console()
    if name is not None:
        if kind not in KINDS:
            raise InputError(f"{kind} has no settings to list; raprune list {kind} shows all")
        plugins = [KINDS[kind].get(name)]
        (_print_settings if verbose else _print_plugins)(plugins, console)
        return
    for one in [kind] if kind else KINDS_LISTED:
        console.print(f"\n{one}", style="bold", highlight=False)
        if one == "study":
            _print_studies(console)
        elif one == "preset":
            _print_presets(console)
        else:
            (_print_settings if verbose else _print_plugins)(KINDS[one], console)


def _print_settings(plugins: Iterable[Plugin], console: Console) -> None:
    """Print each plug-in with its settings in wrapped lines: type and default, then the meaning."""
    from raprune.console.settings import settings_blocks

    for plugin in plugins:
        console.print(f"  {plugin.name}", style="cyan", highlight=False)
        for line in settings_blocks(plugin, min(console.width, 80)):
            console.print(line, highlight=False, soft_wrap=True)


def _print_plugins(plugins: Iterable[Plugin], console: Console) -> None:
    for plugin in plugins:
        _print_named(console, plugin.name, plugin.summary)
        for line in _settings_lines(plugin):
            console.print(f"      {line}", style="dim", highlight=False, soft_wrap=True)


def _print_presets(console: Console) -> None:
    """Print each preset with the settings it provides beneath a study's own keys."""
    from raprune.study.presets import ABOUT, DECISIONS_OF, JOINT_OF, PLUGIN_PRESETS, PRESETS
    from raprune.study.wording import shown

    for name, about in ABOUT.items():
        _print_named(console, name, about)
        own = [f"{key} = {shown(value)}" for key, value in PRESETS[name].items()]
        own += [f"method {method}: decision = {shown(usual)}" for method, usual in DECISIONS_OF[name].items()]
        own += [f"decision {stage}: postprocess.joint = {shown(usual)}" for stage, usual in JOINT_OF[name].items()]
        for (kind, plugin), settings in PLUGIN_PRESETS[name].items():
            own += [f"{kind} {plugin}: {key} = {shown(value)}" for key, value in settings.items()]
        for line in own:
            console.print(f"      {line}", style="dim", highlight=False, soft_wrap=True)


def _print_studies(console: Console) -> None:
    """Print the name by which each study is run, what it is about, and its file."""
    from raprune.study.bundled import bundled_studies
    from raprune.study.reader import read_document

    for name, file in bundled_studies().items():
        about = str(read_document(file).data["description"])
        _print_named(console, name, about)
        console.print(f"      {file}", style="dim", highlight=False, soft_wrap=True)


def _print_named(console: Console, name: str, about: str) -> None:
    from rich.text import Text

    console.print(Text.assemble("  ", (name, "cyan"), f"  {about}"), highlight=False, soft_wrap=True)


def _settings_lines(plugin: Plugin) -> list[str]:
    """The settings of a plug-in with their defaults, their other choices and their meanings."""
    from raprune.study.json_schema import settings_schema
    from raprune.study.wording import shown

    forms = settings_schema(plugin.settings).get("properties", {})
    lines = []
    for key, field in plugin.settings.model_fields.items():
        value = field.get_default(call_default_factory=True)
        default = "required" if field.is_required() else "not set" if value is None else f"= {shown(value)}"
        others = [shown(other) for other in forms[key].get("enum", []) if other != value]
        choice = f" (or {', '.join(others)})" if others else ""
        lines.append(f"{key} {default}{choice}  {forms[key].get('description', '').replace('`', '')}")
    if (decision := plugin.declared.get("decision")) is not None:
        lines.append(f"decision = {shown(decision)}  Where the trial names none. A key of the trial, beside method.")
    if plugin.declared.get("ranks"):
        lines.append("match not set  Another method of the study: prune every layer to its num_kept, without search.")
    return [line.rstrip() for line in lines]
