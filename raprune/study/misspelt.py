"""What is wrong with a study, as far as it can be told before anything slow is imported."""

from __future__ import annotations

from raprune.errors import Problem, StudyError
from raprune.study.loading import expand
from raprune.study.reader import Document
from raprune.study.unimported import nothing_imported

REST = "layers, files, data and network are checked once this is right"


def refuse_misspelt(document: Document, own: bool = True) -> None:
    """Raise :class:`StudyError` with what is wrong in ``document``: keys, names and types, those of plug-ins too.

    ``own``: also with what is wrong with how it names a user's own code, which must then be there.

    What only imported code, files, data or the network can tell is left to
    :func:`raprune.preflight.checks.expand_and_inspect`, which finds all of this, too.
    """
    try:
        with nothing_imported(own):
            expand(document)
    except StudyError as error:
        problems = error.problems
        if any("not a key" in problem.message for problem in problems):  # a missing key may be the misspelt one
            problems = [problem for problem in problems if not problem.message.startswith("is required")]
        raise StudyError([*problems, Problem("", "", REST)], error.ways_on) from None
