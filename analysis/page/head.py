"""The head of the page: whose results these are, of which network on which data; and how they were made."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from html import escape
from typing import Any

from ..commands import command_html
from ..labels import in_order, rehearsed_study, seeds_line, text
from ..repeats import repeats_line
from ..studies import Report
from .section import Section


def title(report: Report) -> str:
    """The name of the study, or of those compared."""
    names = [_name(manifest) for manifest in report.manifests.values()]
    return " and ".join(names) if len(names) < 3 else f"{', '.join(names[:-1])} and {names[-1]}"


def _name(manifest: dict[str, Any]) -> str:
    rehearsed = rehearsed_study(manifest)
    return f"Rehearsal of {rehearsed}" if rehearsed else str(manifest["study"])


def contents(report: Report, sections: Sequence[Section]) -> str:
    """Links to the sections, and the button that changes between dark and light."""
    links = "".join(f'<a href="#{escape(s.id)}">{escape(s.title)}</a>' for s in sections)
    return f"""<nav id="contents"><button class="arrow" type="button" aria-label="Sections before" hidden>‹</button>
<div><a class="top" href="#top">{escape(title(report))}</a>{links}</div>
<button class="arrow" type="button" aria-label="Sections after" hidden>›</button>
<button id="theme" type="button" hidden>Dark</button></nav>"""


def heading(report: Report) -> str:
    """Title, network and data, warnings and descriptions."""
    kind = "Filter pruning: a comparison of studies" if report.several else "Filter pruning study"
    lines = [f'<header id="top"><p class="kind">{kind}</p><h1>{escape(title(report))}</h1>']
    if pairs := _networks(report):
        lines.append(f'<p class="on">{"; ".join(pairs)}</p>')
    lines += [_rehearsal(report, study) for study in report.manifests]
    for study, manifest in report.manifests.items():
        if description := manifest.get("description"):
            name = f"<b>{escape(study)}</b>: " if report.several else ""
            lines.append(f"<p>{name}{escape(description)}</p>")
    notes = " ".join(filter(None, (seeds_line(report.tables.trials), repeats_line(report.tables))))
    if notes:
        lines.append(f'<p class="soft">{escape(notes)}</p>')
    lines.append('<p id="no-script">The figures of this page are drawn by its script, which did not run.</p></header>')
    return "\n".join(lines)


def _networks(report: Report, study: str | None = None) -> list[str]:
    rows = report.tables.trials.to_dict("records")
    return in_order(
        f"<b>{escape(text(row['model']) or 'unknown')}</b> on <b>{escape(text(row['dataset']) or 'unknown')}</b>"
        for row in rows
        if study in (None, row["study"])
    )


def _rehearsal(report: Report, study: str) -> str:
    """A warning that the numbers are those of a rehearsal, not the study's."""
    rehearsed = rehearsed_study(report.manifests[study])
    if rehearsed is None:
        return ""
    pairs = _networks(report, study if report.several else None)
    what = f" ({', '.join(pairs)})" if pairs else ""
    return (
        '<p class="warning">The settings are those of the study\'s rehearsal block'
        f"{what}. No number here is a result of {escape(rehearsed)}.</p>"
    )


def provenance(report: Report) -> str:
    """Versions, devices and commands."""
    return "".join(
        f"<p>{_made(report, study if report.several else '', manifest)}</p>"
        for study, manifest in report.manifests.items()
    )


def _made(report: Report, study: str, manifest: dict[str, Any]) -> str:
    trials = report.tables.trials
    own = trials[trials["study"] == study] if study else trials
    packages = [f"{name} {version}" for name, version in manifest.get("packages", {}).items()]
    devices = ", ".join(sorted(set(own["device"].dropna()))) or "unknown"
    commit = f", commit {manifest['commit'][:12]}" if manifest.get("commit") else ""
    python = f"Python {manifest['python']}" if manifest.get("python") else ""
    command = shlex.join(["raprune", *manifest.get("command", [])[1:]])
    facts = [
        f"raprune {manifest.get('raprune', 'of unknown version')}{commit}",
        f"preset {manifest.get('preset') or 'unknown'}",
        f"device {devices}",
        ", ".join(filter(None, [python, *packages])),
    ]
    name = f"<b>{escape(study)}</b>: " if study else ""
    return f"{name}{escape('; '.join(facts))}; {command_html(command)}"
