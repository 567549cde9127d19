"""The report's page: one HTML file, readable without a network.

The page is a list of *sections*. A section is one Python file in ``analysis/sections/`` and, if it needs any, files of
its own in ``analysis/web/``::

    PLACE = 0.5  # among the sections and the figures, which have places, too

    def section(report: Report) -> Section | None:
        return Section("draw", "Draw a digit", body="<canvas></canvas>", data={"classes": 10}, start="draw",
                       web=("draw.js", "draw.css"))

``web/draw.js`` registers what is called with the section's element and its data once the page is there::

    raprune.sections.draw = (element, data) => { ... };

The page's policy forbids every request, inline handlers and ``style`` attributes in HTML; a script may set styles.
Texts of a study reach the page escaped (Python: ``html.escape``, JavaScript: ``raprune.h``, which makes text nodes).
Colours are the variables of ``web/page.css``; on a change of theme the document gets the event ``raprune-theme``. What
must be drawn anew for paper joins ``raprune.onPrint``.

A figure (``analysis/figures/``) is a section, too: its ``charts`` are drawn by the files of ``web/`` of the same kind.
"""

from .document import render_page
from .section import Section

__all__ = ["Section", "render_page"]
