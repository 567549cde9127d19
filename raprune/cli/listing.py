"""The command ``list``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Optional

import typer

from raprune.cli.console import open_console
from raprune.cli.root import app
from raprune.errors import InputError

if TYPE_CHECKING:
    from raprune.registry import Plugin


@app.command("list")
def list_plugins(
    kind: Annotated[
        Optional[str],  # noqa: UP045
        typer.Argument(help="model, dataset, score, method, order, reward or evaluator."),
    ] = None,
) -> None:
    """Every plug-in with its settings, their defaults and units."""
    from rich.markup import escape

    from raprune.registry import KINDS, nearest

    console = open_console()
    if kind is not None and kind not in KINDS:
        raise InputError(f"no kind of plug-in is called {kind!r}{nearest(kind, list(KINDS))}")
    for name in [kind] if kind else KINDS:
        console.print(f"\n[bold]{name}[/bold]", highlight=False)
        for plugin in KINDS[name]:
            console.print(f"  [cyan]{plugin.name}[/cyan]  {escape(plugin.summary)}", highlight=False, soft_wrap=True)
            for line in _settings_lines(plugin):
                console.print(f"      {line}", style="dim", markup=False, highlight=False, soft_wrap=True)


def _settings_lines(plugin: Plugin) -> list[str]:
    """The settings of a plug-in with their defaults and meanings."""
    from raprune.study.wording import shown

    lines = []
    for key, field in plugin.settings.model_fields.items():
        value = field.get_default(call_default_factory=True)
        default = "required" if field.is_required() else "not set" if value is None else f"= {shown(value)}"
        lines.append(f"{key} {default}  {' '.join((field.description or '').split())}")
    if hasattr(plugin.make, "rank"):
        lines.append("match not set  Another method of the study: prunes every layer to its num_kept, without search.")
    return [line.rstrip() for line in lines]
