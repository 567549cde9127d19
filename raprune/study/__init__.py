"""The study file: reading it, checking it, and expanding it into trials. The only place that parses YAML."""

from raprune.study.expand import StudyPlan, load_study
from raprune.study.schema import Choice, FinetuneLength, FinetuneSpec, StudySpec, TrialSpec

__all__ = ["Choice", "FinetuneLength", "FinetuneSpec", "StudyPlan", "StudySpec", "TrialSpec", "load_study"]
