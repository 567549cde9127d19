"""Reads a study file and makes its trials: those of its sweep, or those that stand for its search."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from raprune.study.expand import LayerNames, StudyPlan, expand_sweep
from raprune.study.overrides import overridden
from raprune.study.reader import Document, read_document
from raprune.study.rehearsal import rehearsed
from raprune.study.search_plan import expand_search


def load_study(
    file: Path, overrides: Iterable[str] = (), layer_names: LayerNames | None = None, rehearse: bool = False
) -> StudyPlan:
    """Read, check and expand a study file; ``rehearse`` lays its rehearsal block over it.

    ``overrides`` are ``a.b=value`` texts from ``--set``; ``layer_names`` lists a trial's prunable layers and is asked
    only for ``layers: each``. Raises :class:`StudyError` with every problem found, :class:`UnsoundStudy` where the
    rest could still be checked.
    """
    return expand(read_study_file(file, overrides, rehearse), layer_names)


def read_study_file(file: Path, overrides: Iterable[str] = (), rehearse: bool = False) -> Document:
    """The document that :func:`load_study` checks and expands; raises :class:`StudyError` where there is none."""
    return overridden(rehearsed(read_document(file), rehearse), overrides)


def expand(document: Document, layer_names: LayerNames | None = None) -> StudyPlan:
    """Check and expand a document; as :func:`load_study`."""
    return (expand_search if "search" in document.data else expand_sweep)(document, layer_names)
