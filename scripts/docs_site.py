"""A hook of mkdocs (``make docs``): pages that do not lie in docs/, and links between those and the guides.

README.md becomes the first page, benchmarks/README.md and CHANGELOG.md become pages of their own, and the reference is
made from docstrings. A link to any other file of the repository becomes plain text: a built site has no such file.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
OUTSIDE = {"README.md": "index.md", "benchmarks/README.md": "benchmarks.md", "CHANGELOG.md": "changelog.md"}
"""File of the repository -> page of the site."""
CONTRACTS = [
    *(f"raprune.plugins.{kind}.base" for kind in (
        "models", "datasets", "scores", "methods", "decisions", "orders", "allocations", "rewards",
    )),
    "raprune.evaluators.base", "raprune.engine.contract", "raprune.network.lowrank.scheme", "raprune.export.contract",
    "raprune.registry",
]  # fmt: skip
"""The modules that docs/CONTRIBUTING.md names as contracts, and how a plug-in is registered."""
REFERENCE = {
    "reference/api.md": "# raprune.api\n\n`from raprune import prune` gives the same objects.\n\n::: raprune.api\n",
    "reference/contracts.md": "# Plug-in contracts\n\n" + "".join(f"::: {module}\n\n" for module in CONTRACTS),
}
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")
ROLE = re.compile(r":(?:attr|class|data|func|meth|mod):(?=<code>)")


def on_config(config: Any) -> Any:
    """Guides that the navigation does not name yet come at its end."""
    named = str(config.nav)
    new = [page.name for page in sorted((ROOT / "docs").glob("*.md")) if f"'{page.name}'" not in named]
    if new:
        config.nav.append({"More": new})
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that do not lie in docs/."""
    for source, page in OUTSIDE.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    for page, text in REFERENCE.items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: Any, files: Files) -> str:
    """Links as they stand in the repository -> links as the site has them."""
    pages = {there: here for here, there in OUTSIDE.items()}
    here = page.file.src_uri
    source = pages.get(here, f"docs/{here}")
    known = {file.src_uri for file in files}

    def rewritten(found: re.Match[str]) -> str:
        text, link, anchor = found[1], found[2], found[3] or ""
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
        there = OUTSIDE.get(path, path.removeprefix("docs/"))
        if there in known:
            return f"[{text}]({posixpath.relpath(there, posixpath.dirname(here) or '.')}{anchor})"
        return text if (ROOT / path).exists() else found[0]  # mkdocs warns of links that lead nowhere

    return re.sub(r"(!\[[^\]]*\]\()docs/", r"\1", LINK.sub(rewritten, markdown))


def on_page_content(html: str, page: Page, config: Any, files: Files) -> str:
    """Docstrings name objects as Sphinx does (:class:, :func:); the page has them as code."""
    return ROLE.sub("", html)
