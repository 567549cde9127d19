"""One file a section of the page; see :mod:`analysis.page`."""
