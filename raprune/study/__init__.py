"""What was asked: the study file, read, checked and expanded into trials.

The only place that parses YAML.
"""

from raprune.study.check import by_line
from raprune.study.expand import StudyPlan, UnsoundStudy
from raprune.study.loading import expand, load_study, read_study_file
from raprune.study.parts import FinetuneLength, FinetuneSpec
from raprune.study.plain import document_of
from raprune.study.reader import Document
from raprune.study.schema import Choice, ModelChoice, StudySpec, TrialSpec

__all__ = [
    "Choice", "Document", "FinetuneLength", "FinetuneSpec", "ModelChoice", "StudyPlan", "StudySpec", "TrialSpec",
    "UnsoundStudy", "by_line", "document_of", "expand", "load_study",
    "read_study_file",
]  # fmt: skip
