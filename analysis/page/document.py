"""The frame of the page: head, sections, what the scripts need, and what the report was made with."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ..labels import in_order
from ..studies import Report
from .embed import allowed, as_json, packed, web_text
from .head import contents, heading, provenance, title
from .section import Section

ALWAYS = ("core.js", "colour.js", "contents.js", "tip.js", "marks.js", "legend.js", "charts.js")
"""Scripts of every page, before those that its sections name."""
STYLES = ("uPlot.min.css", "page.css", "charts.css")
LICENCE = "uPlot.LICENSE"


def render_page(report: Report, sections: Sequence[Section], remark: str = "") -> str:
    """The page as HTML; ``remark`` stands at its end."""
    web = in_order(name for section in sections for name in section.web)
    scripts = [*(name for name in ALWAYS if name not in web), *(name for name in web if name.endswith(".js"))]
    style = web_text((*STYLES, *(name for name in web if name.endswith(".css"))))
    code = web_text([*sorted(scripts, key=lambda name: name != "uPlot.iife.min.js"), "start.js"])
    boot = web_text(["boot.js"])
    data = as_json({section.id: [section.start, section.data] for section in sections if section.start})
    policy = (
        f"default-src 'none'; script-src {allowed(boot)} {allowed(code)}; style-src {allowed(style)}; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    name = escape(title(report))
    body = "\n".join(_section(section) for section in sections)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}"><meta name="color-scheme" content="light dark">
<title>{name}: raprune report</title><style>{style}</style></head><body>
{contents(report, sections)}
<main>
{heading(report)}
{body}
<footer><p>{escape(remark)}</p>{provenance(report)}{_licence()}</footer>
</main>
<script type="application/octet-stream" id="packed-data">{packed(data)}</script>
<script type="application/octet-stream" id="packed-code">{packed(code)}</script>
<script>{boot}</script>
</body></html>
"""


def _section(section: Section) -> str:
    kind = f' class="{section.kind}"' if section.kind else ""
    name = escape(section.id)
    return (
        f'<section id="{name}"{kind}><h2><a href="#{name}">{escape(section.title)}</a></h2>\n{section.body}\n</section>'
    )


def _licence() -> str:
    words = escape(web_text([LICENCE]).strip())
    return f"<details><summary>Curves and points are drawn by uPlot (MIT licence)</summary><pre>{words}</pre></details>"
